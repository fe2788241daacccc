import type { Queries } from "../../support/database.ts";

export type Message = Record<string, unknown>;

export interface Problem {
  index: number;
  messageId: string | null;
  code: string;
  message: string;
  hint: string;
}

export interface Result {
  accepted: number;
  duplicates: number;
  rejected: number;
  errors: Problem[];
}

/** Sends a batch as JSON, as importers do. */
export async function ingest(db: Queries, batch: unknown): Promise<Result> {
  const [result] = await db.rows<Result>("select * from track.ingest($1::jsonb)", [JSON.stringify(batch)]);
  if (result === undefined) throw new Error("no answer");
  return result;
}

/** Sends a batch as a string that holds JSON, as the API does. */
export async function ingestText(db: Queries, text: string): Promise<Result> {
  const [result] = await db.rows<Result>("select * from track.ingest(to_jsonb($1::text))", [text]);
  if (result === undefined) throw new Error("no answer");
  return result;
}

let count = 0;

/** A `track` message with an id of its own; a field that is undefined is left out. */
export const message = (fields: Message = {}): Message => {
  count += 1;
  return { type: "track", messageId: `message-${count}`, userId: "ada", event: "Task Submitted", ...fields };
};

/** Everything that is derived from events, brought up to date. */
export async function refresh(db: Queries, mostPeople = 1000): Promise<void> {
  while ((await db.rows("select from track.refresh($1)", [mostPeople])).length > 0);
}
