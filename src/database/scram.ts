import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from "node:crypto";

/** SCRAM-SHA-256 without channel binding (RFC 5802, RFC 7677), server side. */
export const mechanism = "SCRAM-SHA-256";

const iterations = 4096;
const hmac = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();
const hash = (data: Buffer): Buffer => createHash("sha256").update(data).digest();

/** The attributes of a SCRAM message, by their letter. */
const attributes = (text: string): Map<string, string> =>
  new Map(text.split(",").map((part) => [part.slice(0, 1), part.slice(2)]));

export class ScramServer {
  readonly #password: string;
  readonly #salt = randomBytes(16);
  #header = "";
  #nonce = "";
  #exchanged = "";

  constructor(password: string) {
    this.#password = password;
  }

  /** The answer to the client's first message; undefined if it is invalid. */
  challenge(first: string): string | undefined {
    const [, header = "", bare = ""] = /^([ny],[^,]*,)(.*)$/s.exec(first) ?? [];
    const nonce = attributes(bare).get("r");
    if (nonce === undefined || nonce === "") return undefined;
    this.#header = header;
    this.#nonce = nonce + randomBytes(18).toString("base64");
    const challenge = `r=${this.#nonce},s=${this.#salt.toString("base64")},i=${iterations}`;
    this.#exchanged = `${bare},${challenge}`;
    return challenge;
  }

  /** The answer to the client's proof; undefined if the password is wrong. */
  verify(final: string): string | undefined {
    const [, withoutProof = "", proof = ""] = /^(.*),p=([^,]*)$/s.exec(final) ?? [];
    const given = attributes(withoutProof);
    const binding = Buffer.from(this.#header).toString("base64");
    if (this.#nonce === "" || given.get("r") !== this.#nonce || given.get("c") !== binding) return undefined;

    const salted = pbkdf2Sync(this.#password, this.#salt, iterations, 32, "sha256");
    const clientKey = hmac(salted, "Client Key");
    const authMessage = `${this.#exchanged},${withoutProof}`;
    const signature = hmac(hash(clientKey), authMessage);
    const expected = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)));
    const actual = Buffer.from(proof, "base64");
    if (actual.length !== expected.length || !timingSafeEqual(actual, expected)) return undefined;
    return `v=${hmac(hmac(salted, "Server Key"), authMessage).toString("base64")}`;
  }
}
