// A back end in Node: believes tokens by jose and webhooks by standardwebhooks, as docs/tokens.md and docs/webhooks.md say.
// Reads one JSON object from each line and answers each with one line: what it believes, or {"refused": why}.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

// The libraries are installed elsewhere, in the folder that the argument names.
const require = createRequire(`${process.argv[2]}/`);
const { createRemoteJWKSet, jwtVerify } = await import(require.resolve("jose"));
const { Webhook } = await import(require.resolve("standardwebhooks")).then((it) => it.default ?? it);

const sets = new Map();

async function token(asked) {
  if (!sets.has(asked.jwks)) sets.set(asked.jwks, createRemoteJWKSet(new URL(asked.jwks)));
  const { issuer, audience } = asked;
  const { payload } = await jwtVerify(asked.token, sets.get(asked.jwks), {
    issuer, audience, algorithms: ["EdDSA", "ES256"], requiredClaims: ["sub", "exp", "iat", "jti"],
  });
  return payload;
}

const webhook = (asked) => new Webhook(asked.secret).verify(asked.body, asked.headers);

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  let answer;
  try {
    answer = "token" in asked ? await token(asked) : webhook(asked);
  } catch (error) {
    answer = { refused: error.code ?? error.name };
  }
  console.log(JSON.stringify(answer));
}
