import { isObject } from "../dialect.ts";
import { type Statement, voided } from "./statement.ts";

/*
 * Signed statements: an attachment is a JSON Web Signature (RFC 7515) of the statement. The signature is compared with
 * the statement and with the certificate in it; its issuer is not known.
 */

const usage = "http://adlnet.gov/expapi/attachments/signature";

function decoded(part: string | undefined): unknown {
  if (part === undefined || !/^[\w-]*$/.test(part)) return undefined;
  try {
    return JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
  } catch {
    return undefined;
  }
}

/** The reason why a statement is not validly signed; undefined for one that is, or has no signature. */
export function signatureProblem(
  { attachments = [], verb, id }: Statement,
  contents: ReadonlyMap<string, Buffer>,
): string | undefined {
  for (const { usageType, contentType, sha2 } of attachments) {
    if (usageType !== usage || verb.id === voided) continue;
    if (contentType !== "application/octet-stream")
      return `the signature has the content type "${contentType.slice(0, 100)}"`;
    const signature = contents.get(sha2.toLowerCase())?.toString("latin1").trim();
    const [head, payload, ...rest] = signature?.split(".") ?? [];
    const header = decoded(head);
    const signed = decoded(payload);
    if (!isObject(header) || !isObject(signed) || rest.length !== 1) return "the signature is not a JSON Web Signature";
    if (!["RS256", "RS384", "RS512"].includes(String(header["alg"]))) {
      return `the signature uses "${String(header["alg"]).slice(0, 100)}", and not RS256, RS384 or RS512`;
    }
    if (id !== undefined && signed["id"] !== undefined && String(signed["id"]).toLowerCase() !== id)
      return "the signature is of another statement";
  }
  return undefined;
}
