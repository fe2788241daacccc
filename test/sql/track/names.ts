import type { Queries } from "../../support/database.ts";
import { type Message, message } from "./messages.ts";

export const browse = (anonymousId: string, fields: Message = {}) =>
  message({ userId: undefined, anonymousId, ...fields });
export const identify = (anonymousId: string, userId: string, fields: Message = {}) =>
  message({ type: "identify", anonymousId, userId, ...fields });
export const alias = (previousId: string, userId: string) => message({ type: "alias", previousId, userId });

/** Events a name's person has, by the name that each came with. */
export async function belongings(db: Queries, person: string): Promise<string[]> {
  const rows = await db.rows<{ name: string }>(
    `select identity.external_id as name from track.event join track.identity using (identity_id)
     where event.person_id = track.find_person($1) order by occurred_at, event_id`,
    [person],
  );
  return rows.map(({ name }) => name).toSorted();
}
