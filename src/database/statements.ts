import { createHash } from "node:crypto";

/** One statement of a script. */
export interface Statement {
  /** Its text in the script, from its first word to the semicolon, without preceding comments. */
  text: string;
  /** Without comments and without line breaks outside of quotes: the form that is compared and classified. */
  normal: string;
  /** The line of its first word, from 1. */
  line: number;
}

/**
 * Tokens that may contain a semicolon that ends no statement: quotes, dollar quotes, comments. Otherwise words, and
 * single characters.
 */
const token =
  /--[^\n]*|[eE]'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*|\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$|\s+|[\s\S]/gy;

/** Block comments nest. */
function endOfComment(sql: string, start: number): number {
  let depth = 0;
  let at = start;
  do {
    const next = /\/\*|\*\//g;
    next.lastIndex = at;
    const match = next.exec(sql);
    if (match === null) throw unterminated(sql, start, "comment");
    depth += match[0] === "/*" ? 1 : -1;
    at = next.lastIndex;
  } while (depth > 0);
  return at;
}

const lineOf = (sql: string, position: number): number => sql.slice(0, position).split("\n").length;

const unterminated = (sql: string, position: number, what: string): Error =>
  new Error(`the ${what} that begins in line ${lineOf(sql, position)} does not end`);

/** `create [or replace] function` or `procedure`: its body may be `begin atomic … end`, with semicolons of its own. */
const routine = /^create (or replace )?(function|procedure)\b/i;

/** Splits a script into statements as psql does: by quotes, dollar quotes, comments, parentheses and `begin atomic`. */
export function splitStatements(sql: string): Statement[] {
  const statements: Statement[] = [];
  let start = -1;
  let normal = "";
  let parentheses = 0;
  let blocks = 0;
  let counted = 0;
  let line = 1;
  const finish = (end: number): void => {
    if (start >= 0) {
      for (; counted < start; counted++) if (sql[counted] === "\n") line++;
      statements.push({ text: sql.slice(start, end).trimEnd(), normal: normal.trim(), line });
    }
    start = -1;
    normal = "";
    parentheses = 0;
    blocks = 0;
  };
  let at = 0;
  while (at < sql.length) {
    token.lastIndex = at;
    let part = token.exec(sql)?.[0] ?? "";
    const begin = at;
    const first = part[0] as string;
    if (first === "/" && sql[at + 1] === "*") {
      part = sql.slice(at, endOfComment(sql, at));
    } else if (first === "$" && part.length > 1) {
      const end = sql.indexOf(part, at + part.length);
      if (end < 0) throw unterminated(sql, at, "text in dollar quotes");
      part = sql.slice(at, end + part.length);
    } else if (part === "'" || part === '"') {
      throw unterminated(sql, at, part === "'" ? "text" : "quoted name");
    }
    at += part.length;
    if (first <= " " || part.startsWith("--") || part.startsWith("/*")) {
      if (start >= 0 && !normal.endsWith(" ")) normal += " ";
      continue;
    }
    if (part === ";" && parentheses === 0 && blocks === 0) {
      finish(at);
      continue;
    }
    if (start < 0) start = begin;
    normal += part;
    if (part === "(") parentheses++;
    else if (part === ")") parentheses = Math.max(0, parentheses - 1);
    else if (parentheses === 0 && (part.length === 5 || part.length === 4 || part.length === 3)) {
      const word = part.toLowerCase();
      if (word === "begin" && routine.test(normal)) blocks++;
      else if (word === "case" && blocks > 0) blocks++;
      else if (word === "end" && blocks > 0) blocks--;
    }
  }
  finish(sql.length);
  return statements;
}

/** A hash that is short enough for a list that people read. */
export const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);
