import { type Problem, shown } from "./problem.ts";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

/** Text that PostgreSQL can store, or the reason why it cannot. */
export function decode(bytes: Uint8Array): string | Problem {
  let text: string;
  try {
    text = strict.decode(bytes);
  } catch {
    return {
      what: "not UTF-8",
      value: shown(lenient.decode(bytes)),
      hint: "convert the file: iconv -f WINDOWS-1252 -t UTF-8",
    };
  }
  return text.includes("\0") ? { what: "a null byte, which PostgreSQL cannot store", value: shown(text) } : text;
}
