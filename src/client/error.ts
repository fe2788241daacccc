/**
 * Codes of errors: those of the database (see `src/sql/README.md`), those of PostgreSQL that the server uses, and
 * `network` for an answer that did not arrive.
 */
export type ErrorCode =
  | "CF001"
  | "CF002"
  | "CF003"
  | "CF004"
  | "CF005"
  | "CF006"
  | "CF007"
  | "CF008"
  | "CF009"
  | "CF010"
  /** The token is invalid. */
  | "28000"
  /** The role of the token may not do this. */
  | "42501"
  /** Too many requests. */
  | "53400"
  /** The server is busy. */
  | "53300"
  /** The database is not available. */
  | "08006"
  /** The request took too long. */
  | "57014"
  /** An error of the server. */
  | "XX000"
  | "network"
  | (string & {});

const temporary: ReadonlySet<string> = new Set(["53400", "53300", "08006", "network"]);

/** An error of the API. Its message names the invalid value, and `hint` describes valid ones. */
export class InsightsError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  /** Status of the answer; 0 without one. */
  readonly status: number;
  /** Field of the operation. */
  readonly path: readonly (string | number)[] | undefined;
  /** Seconds after which a repetition may succeed, as far as the server stated it. */
  readonly retryAfter: number | undefined;

  constructor(
    message: string,
    {
      code,
      status,
      hint,
      path,
      retryAfter,
      cause,
    }: {
      code: ErrorCode;
      status: number;
      hint?: string | undefined;
      path?: readonly (string | number)[] | undefined;
      retryAfter?: number | undefined;
      cause?: unknown;
    },
  ) {
    super(message, { cause });
    this.name = "InsightsError";
    this.code = code;
    this.status = status;
    this.hint = hint;
    this.path = path;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get isTemporary(): boolean {
    return temporary.has(this.code);
  }
}
