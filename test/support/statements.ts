import type { Queries } from "./database.ts";

/* xAPI statements for tests of the functions that store and read them. */

export const statementId = (number: number): string => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;

export const verbs = "http://adlnet.gov/expapi/verbs/";

export const agentOf = (name: string) => ({ account: { homePage: "https://campus.example", name } });

export const activityOf = (name: string) => ({ id: `https://campus.example/${name}` });

export type Fields = Record<string, unknown>;

/** A statement of ada about task-1. */
export const statementOf = (number: number, fields: Fields = {}): Fields => ({
  id: statementId(number),
  actor: agentOf("ada"),
  verb: { id: `${verbs}passed` },
  object: activityOf("task-1"),
  timestamp: "2026-03-01T10:00:00Z",
  ...fields,
});

/** The statement that voids one. */
export const voidingOf = (number: number, target: number, fields: Fields = {}): Fields =>
  statementOf(number, {
    verb: { id: `${verbs}voided` },
    object: { objectType: "StatementRef", id: statementId(target) },
    ...fields,
  });

const eventOf = ({ verb, object }: Fields): Fields | null =>
  (verb as { id: string }).id.endsWith("voided")
    ? null
    : { type: "track", event: "Task Completed", properties: { item: (object as { id?: string }).id } };

/** Stores statements, each with an event. */
export const storeStatements = (
  db: Queries,
  statements: readonly Fields[],
  attachments: Record<string, string> = {},
): Promise<number> =>
  db.value<number>("select track.store_statements($1)", [
    JSON.stringify({
      statements: statements.map((statement) => ({ statement, event: eventOf(statement) })),
      attachments,
    }),
  ]);

/** The numbers of the statements that a query returns, in its order. */
export async function foundStatements(db: Queries, query: Fields): Promise<number[]> {
  const found = await db.value<{ id: string }[] | null>("select statements from track.statements($1)", [
    JSON.stringify(query),
  ]);
  return (found ?? []).map(({ id }) => Number(id.slice(-12)));
}
