// Passkeys with Chromium's own virtual authenticator: made at an invitation and at the account, used to sign in.
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** An authenticator in the device, whose owner always says yes. */
async function authenticator(page) {
  const cdp = await page.createCDPSession();
  await cdp.send("WebAuthn.enable");
  const options = { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true };
  const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", { options });
  return {
    credentials: async () => (await cdp.send("WebAuthn.getCredentials", { authenticatorId })).credentials,
    verifies: (isUserVerified) => cdp.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified }),
    forgets: () => cdp.send("WebAuthn.clearCredentials", { authenticatorId }),
  };
}

/** Presses the button of the form that the script shows. */
async function press(page, label) {
  const button = await page.waitForSelector("form[data-passkey] button", { visible: true });
  if (label) await page.type("form[data-passkey] input[name=label]", label);
  await Promise.all([page.waitForNavigation(), button.click()]);
}

const link = (said) => /http\S+\/doorward\/invite\/\S+/.exec(said)[0];

export async function passkeys({ browser, claim, look, start, eventually, freePort, folder, answers, redirect, challenge }) {
  const [port, admin] = [await freePort(), await freePort()];
  const origin = `http://localhost:${port}`;
  const config = join(folder, "accounts.yaml");
  writeFileSync(config, JSON.stringify({
    public_url: origin,
    listen: [{ address: `127.0.0.1:${port}` }],
    admin: { address: `127.0.0.1:${admin}` },
    audit: { file: join(folder, "accounts.jsonl") },
    store: `sqlite:${join(folder, "accounts.db")}`,
    upstreams: { files: { path: "/mcp", url: "http://127.0.0.1:9/mcp", ownership: "self_managed", rules: [{ tools: ["read_*"], scopes: ["files:read"] }] } },
    authorization_server: { login: { accounts: {} }, rate: "100/s", clients: { desk: { name: "Desk", redirect_uris: ["http://127.0.0.1/cb"] } } },
  }));
  start(process.env.DOORWARD, ["serve", "--config", config]);
  await eventually("doorward with accounts", async () => (await fetch(`http://127.0.0.1:${admin}/readyz`)).ok);
  const users = (...what) => spawnSync(process.env.DOORWARD, ["users", what[0], "--config", config, ...what.slice(1)], { encoding: "utf8" }).stdout;
  const why = ["--reason", "test", "--by", "mia"];
  const asked = { response_type: "code", client_id: "desk", redirect_uri: redirect, code_challenge: challenge, code_challenge_method: "S256", scope: "files:read", state: "st", prompt: "login" };
  const authorize = `${origin}/authorize?${new URLSearchParams(asked)}`;

  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  const said = [];
  page.on("console", (message) => message.type() === "error" && !/status of 4\d\d/.test(message.text()) && said.push(message.text()));
  const device = await authenticator(page);
  const invite = link(users("invite", "alice", ...why));
  await look(browser, "invite", (page) => page.goto(invite), 1);
  await page.goto(invite);
  await press(page, "Laptop");
  claim((await page.$$("code")).length === 10, "passkeys: one is made at an invitation, and recovery codes are shown", await page.content());
  const [kept] = await device.credentials();
  claim(kept?.isResidentCredential && kept.rpId === "localhost", "passkeys: the authenticator keeps it, for this host", JSON.stringify(kept));

  const signIn = async () => {
    await page.goto(authorize);
    await Promise.all([page.waitForNavigation(), page.click("button[name=allow]")]);
  };
  const arrived = async (what) => {
    const before = answers.length;
    await press(page);
    await eventually("the client's code", async () => answers.length > before);
    claim(Boolean(answers.at(-1).searchParams.get("code")), what, answers.at(-1).href);
  };
  await signIn();
  await device.verifies(false);
  await page.click("form[data-passkey] button");
  await page.waitForSelector("form[data-passkey] [role=alert]", { visible: true });
  claim(page.url().includes("/doorward/sign-in"), "passkeys: without the owner's finger or PIN nobody signs in, and the page says so");
  await device.verifies(true);
  await arrived("passkeys: with it a code comes to a client of another origin");

  await page.goto(`${origin}/doorward/account`);
  claim((await page.content()).includes("Laptop"), "passkeys: the account shows it by its name");
  const cookies = await context.cookies();
  await look(browser, "account-passkeys", async (page) => {
    await page.browserContext().setCookie(...cookies);
    await page.goto(`${origin}/doorward/account`);
  }, 1);
  await page.click("form[data-passkey] button");
  await page.waitForSelector("form[data-passkey] [role=alert]", { visible: true });
  claim((await device.credentials()).length === 1, "passkeys: no second one is made on the same device");
  await device.forgets();
  await page.goto(`${origin}/doorward/account`);
  await press(page, "Spare");
  claim((await page.content()).includes("Spare"), "passkeys: whoever is signed in makes another");
  await signIn();
  await arrived("passkeys: the other one signs in too");
  await look(browser, "sign-in-passkey", async (page) => {
    await page.goto(authorize);
    await Promise.all([page.waitForNavigation(), page.click("button[name=allow]")]);
    await page.waitForSelector("form[data-passkey] button", { visible: true });
  }, 1);
  claim(said.length === 0, "passkeys: the browser has nothing to complain of", said.join("; "));
  await context.close();

  const plain = await browser.createBrowserContext();
  const still = await plain.newPage();
  await still.setJavaScriptEnabled(false);
  await still.goto(link(users("invite", "bob", ...why)));
  claim(!(await (await still.$("form[data-passkey]")).isVisible()), "passkeys: without scripts there is no button that does nothing");
  await still.type("input[name=password]", "four plain words here");
  await still.type("input[name=again]", "four plain words here");
  await Promise.all([still.waitForNavigation(), still.click("button.primary")]);
  claim((await still.$$("code")).length === 10, "passkeys: without scripts a password is chosen");
  await still.goto(authorize);
  await Promise.all([still.waitForNavigation(), still.click("button[name=allow]")]);
  await still.type("input[name=name]", "bob");
  await still.type("input[name=password]", "four plain words here");
  const before = answers.length;
  await still.click("button.primary");
  await eventually("the client's code", async () => answers.length > before);
  claim(Boolean(answers.at(-1).searchParams.get("code")), "passkeys: without scripts a password signs in");
  await plain.close();
}
