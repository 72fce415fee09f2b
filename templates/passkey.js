"use strict";
// Shows the forms of passkeys where the browser knows them, and fills them in.
(() => {
  if (!window.PublicKeyCredential || !navigator.credentials) return;
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));
  const text = (buffer) => {
    const letters = Array.from(new Uint8Array(buffer || []), (one) => String.fromCharCode(one)).join("");
    return btoa(letters).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };
  const make = ({ challenge, party, user, name, known }) => navigator.credentials.create({ publicKey: {
    challenge: bytes(challenge), rp: { id: party, name: party },
    user: { id: new TextEncoder().encode(user), name, displayName: name },
    pubKeyCredParams: [-7, -8, -257].map((alg) => ({ type: "public-key", alg })),
    excludeCredentials: known.split(" ").filter(Boolean).map((id) => ({ type: "public-key", id: bytes(id) })),
    authenticatorSelection: { residentKey: "required", requireResidentKey: true, userVerification: "required" }, attestation: "none",
  } });
  const use = ({ challenge, party }) => navigator.credentials.get({ publicKey: {
    challenge: bytes(challenge), rpId: party, userVerification: "required",
  } });
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const failed = form.querySelector("[role=alert]");
      failed.hidden = true;
      try {
        const { rawId, response } = await (form.dataset.passkey === "make" ? make : use)(form.dataset);
        const said = {
          passkey: rawId, client_data: response.clientDataJSON, attestation: response.attestationObject,
          authenticator_data: response.authenticatorData, signature: response.signature, user_handle: response.userHandle,
        };
        for (const [field, value] of Object.entries(said)) form.elements.namedItem(field).value = text(value);
        form.submit();
      } catch {
        failed.hidden = false;
      }
    });
  }
})();
