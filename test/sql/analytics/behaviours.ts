import type { Queries } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";
import { type Message, message } from "../track/messages.ts";
import { DAY, happen } from "./people.ts";

export const KINDS = ["night", "weekend", "daily", "rare"] as const;
export type Kind = (typeof KINDS)[number];
export const today = Math.floor(Date.now() / DAY) * DAY;
const isWeekend = (day: number): boolean => [0, 6].includes(new Date(today - day * DAY).getUTCDay());

/**
 * The events of a person of a kind in the four weeks before a day: at night, at weekends, every day at the same hour, or
 * on a day or two. Each submission is of another item, and the views of a day are a minute apart.
 */
export function behave(person: string, kind: Kind, seed: number, until = 0): Message[] {
  const random = generator(seed);
  const sent: Message[] = [];
  const on = (day: number, hour: number, submissions: number): void => {
    for (let step = 0; step < 3 + submissions; step++)
      sent.push(
        message({
          userId: person,
          event: step < 3 ? "Page Viewed" : "Task Submitted",
          timestamp: new Date(today - day * DAY + hour * 3_600_000 + step * 60_000).toISOString(),
          properties: { item: `${step < 3 ? "page" : "task"}-${step < 3 ? step : day}`, itemKind: "page" },
        }),
      );
  };
  for (let day = until + 1; day <= until + 28; day++) {
    if (kind === "night" && random() < 0.5) on(day, [23, 0, 1, 2, 3][Math.floor(random() * 5)] as number, 1);
    if (kind === "weekend" && isWeekend(day) && random() < 0.8) on(day, 9 + Math.floor(random() * 9), 1);
    if (kind === "daily" && random() < 0.9) on(day, 10, 2);
  }
  if (kind === "rare" || sent.length === 0) on(until + 1 + Math.floor(random() * 24), 14 + Math.floor(random() * 3), 0);
  return sent;
}

/** Twenty people of each kind: `night-0`, …. */
export async function populate(db: Queries, each = 20, until = 0): Promise<void> {
  const sent = KINDS.flatMap((kind, index) =>
    Array.from({ length: each }, (_, person) =>
      behave(`${kind}-${person}`, kind, 100 * index + person + 1, until),
    ).flat(),
  );
  await happen(db, ...sent);
}

/** The people of each cluster, by their names in the application. */
export async function membersByCluster(db: Queries): Promise<Record<string, string[]>> {
  const rows = await db.rows<{ cluster: string; people: string[] }>(
    `select name as cluster, array(select person from analytics.cohort_people(cluster.name) order by 1) as people
     from analytics.cluster where retired_at is null`,
  );
  return Object.fromEntries(rows.map(({ cluster, people }) => [cluster.replace("cluster.", ""), people]));
}

/** The kinds of the people of each cluster. */
export async function kindsByCluster(db: Queries): Promise<Record<string, string[]>> {
  const found = await membersByCluster(db);
  return Object.fromEntries(
    Object.entries(found).map(([cluster, people]) => [
      cluster,
      [...new Set(people.map((name) => name.split("-")[0] as string))],
    ]),
  );
}
