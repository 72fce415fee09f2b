// TypeScript without its types.
import ts from "typescript";

export function transpile(text) {
  return ts.transpileModule(text, { compilerOptions: { target: "ES2022", module: "ESNext" } }).outputText;
}
