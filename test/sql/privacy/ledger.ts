import type { Queries } from "../../support/database.ts";

export interface Problem {
  problem: string;
  kind: string | null;
  position: number | null;
  record_id: string | null;
}

/** The answer of `privacy.verify_ledger`. */
export interface Report {
  intact: boolean;
  entries: number;
  records: number;
  unsealed: number;
  removed: number;
  broken: number | null;
  count: number;
  problems: Problem[];
}

/** Verifies the ledger. */
export async function verify(db: Queries, expected = ""): Promise<Report> {
  const [report] = await db.rows<Report>(
    `select is_intact as intact, entries::int, records::int, unsealed::int, removed::int, broken_position::int as broken,
       problem_count::int as count, to_jsonb(problems) as problems
     from privacy.verify_ledger(${expected})`,
  );
  if (report === undefined) throw new Error("no report");
  return report;
}

/** The kinds of the differences in a report. */
export const problemsOf = ({ problems }: Report): string[] => [
  ...new Set(problems.map(({ problem, kind }) => (kind === null ? problem : `${problem} ${kind}`))),
];

/** People with decisions, texts and a seal over each of them. */
export async function seal(db: Queries): Promise<void> {
  await db.query(
    `select track.ingest('[
       {"type": "identify", "messageId": "1", "userId": "ada"}, {"type": "identify", "messageId": "2", "userId": "ben"},
       {"type": "track", "messageId": "3", "userId": "ada", "event": "consent_preferences", "properties": {
         "eventType": "withdrawn", "consentScopes": ["analytics", "personalization"],
         "categoryPreferences": {"advertising": true}, "consentVersion": "1", "gdprApplies": true}}]')`,
  );
  await db.query("select privacy.publish_text('advertising', '1', 'We count clicks.')");
  await db.query(
    "select privacy.record_consent(track.find_person('ben'), 'advertising', true, document_version => '1')",
  );
  await db.query("select privacy.seal()");
}
