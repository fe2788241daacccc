import { compactVerify, createRemoteJWKSet, errors } from "jose";
import { AuthenticationError } from "../api/authentication.ts";
import { loggableLine } from "../errors.ts";

/*
 * Signatures of Live Events. Canvas signs the payload of a subscription with "Sign payload" as a JWS, with a key of a list
 * that it publishes and changes every month: the former, the present and the next one.
 */

/** Rejects with an `AuthenticationError`: 401 for a signature that is not valid, 503 when the keys cannot be fetched. */
export type Verify = (signed: string | undefined) => Promise<void>;

const hint = 'Set "Sign payload" in the subscription, and INSIGHTS_CANVAS_JWKS_URL to the keys of its Canvas.';

export function createVerify(jwksUrl: string): Verify {
  const keys = createRemoteJWKSet(new URL(jwksUrl), {
    timeoutDuration: 5000,
    cooldownDuration: 5000,
    cacheMaxAge: 300_000,
  });
  // A public key must never be used as a secret, nor "none" as a signature.
  const algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];
  return async (signed) => {
    if (signed === undefined) throw new AuthenticationError("the event is not signed", { code: "CF005", hint });
    try {
      await compactVerify(signed, keys, { algorithms });
    } catch (error) {
      const provider = error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid;
      const generic = error instanceof errors.JOSEError && error.code === "ERR_JOSE_GENERIC";
      if (provider || generic || !(error instanceof errors.JOSEError)) {
        console.error(`keys of Canvas cannot be fetched: ${loggableLine(error as Error)}`);
        throw new AuthenticationError("the keys of Canvas cannot be fetched", {
          statusCode: 503,
          code: "08006",
          hint: "Try again in a moment.",
        });
      }
      throw new AuthenticationError("the signature of the event is not valid", { code: "CF005", hint });
    }
  };
}
