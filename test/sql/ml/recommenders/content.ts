import { createHash } from "node:crypto";

/** Terms of a text in Latin script: words without case and diacritics. */
export const words = (text: string): string[] =>
  text
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/g, "")
    .toLowerCase()
    .normalize("NFKC")
    .match(/[\p{L}\p{N}]+/gu) ?? [];

/** The hashed vector of some terms: each at the place and with the sign that its SHA-256 decides. */
export function hashed(terms: readonly string[], dimensions: number, rarity = (_term: string): number => 1): number[] {
  const vector = Array.from({ length: dimensions }, () => 0);
  for (const term of new Set(terms)) {
    const digest = createHash("sha256").update(term).digest();
    const occurrences = terms.filter((other) => other === term).length;
    const place = digest.readUInt32BE(0) % dimensions;
    const sign = digest.readUInt8(4) < 128 ? 1 : -1;
    vector[place] = (vector[place] ?? 0) + sign * (1 + Math.log(occurrences)) * rarity(term);
  }
  const norm = Math.hypot(...vector);
  return vector.map((value) => value / norm);
}
