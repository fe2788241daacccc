import type { Queries } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";
import { ingest, message } from "../track/messages.ts";
import { DAY, start } from "./doings.ts";

const random = generator(41);
const HOUR = 3_600_000;

/** Local hour around which each person learns, the spread of it in hours, her days, and her zone as an offset from UTC. */
export const rhythms: { person: string; hour: number; spread: number; days: number; offset: number }[] = [
  { person: "dawn", hour: 6.5, spread: 1, days: 12, offset: 2 },
  { person: "early", hour: 9, spread: 1, days: 12, offset: -8 },
  { person: "noon", hour: 13, spread: 4, days: 20, offset: 0 },
  { person: "dusk", hour: 19, spread: 2, days: 15, offset: 9 },
  { person: "night", hour: 23.9, spread: 2, days: 15, offset: 0 },
  { person: "small-hours", hour: 2, spread: 1, days: 9, offset: 2 },
  { person: "any-time", hour: 12, spread: 24, days: 30, offset: 0 },
  { person: "once", hour: 10, spread: 0.1, days: 1, offset: 0 },
  { person: "twice", hour: 10, spread: 0.1, days: 2, offset: 0 },
];
/** Zones without summer time. */
export const zones: Record<number, string> = {
  [-8]: "Etc/GMT+8",
  0: "UTC",
  2: "Africa/Johannesburg",
  9: "Asia/Tokyo",
};

/** Local times of the events: days and hours from the start. */
export const times: Record<string, number[]> = Object.fromEntries(
  rhythms.map(({ person, hour, spread, days }) => [
    person,
    Array.from({ length: days }, (_, day) =>
      [1, 2, 3].map(() => 24 * (2 * day + 1) + hour + (random() - 0.5) * spread),
    ).flat(),
  ]),
);

export async function makeRhythms(database: Queries): Promise<void> {
  await ingest(database, [
    message({
      userId: "c",
      event: "Made",
      properties: { item: "course", itemKind: "course" },
      timestamp: "2026-01-01Z",
    }),
    ...rhythms.flatMap(({ person, offset }) => [
      message({
        type: "identify",
        userId: person,
        traits: { timezone: zones[offset] },
        timestamp: "2026-01-01T00:00:00Z",
      }),
      ...(times[person] ?? []).map((time) =>
        message({
          userId: person,
          event: "Page Viewed",
          timestamp: new Date(start + (time - offset) * HOUR).toISOString(),
          properties: { item: "course" },
        }),
      ),
      // Not an activity of hers.
      message({
        userId: person,
        event: "Task Graded",
        timestamp: new Date(start + 5 * DAY).toISOString(),
        properties: { item: "course" },
      }),
    ]),
  ]);
}

export interface Rhythm {
  days: number;
  hours: number;
  shares: number[];
  mean: number;
  concentration: number;
  p: number;
  chronotype: string;
}

/** By complex numbers, with hours of another zone than hers when an offset is given. */
export function rhythmOf(person: string, offset = 0): Rhythm {
  const local = [...new Set((times[person] ?? []).map((time) => Math.floor(time + offset)))];
  const days = new Set(local.map((hour) => Math.floor(hour / 24))).size;
  const counts = Array.from({ length: 24 }, (_, hour) => local.filter((one) => ((one % 24) + 24) % 24 === hour).length);
  const angle = (hour: number): number => ((hour + 0.5) / 24) * 2 * Math.PI;
  const [x, y] = [Math.cos, Math.sin].map((part) =>
    local.reduce((sum, hour) => sum + part(angle(((hour % 24) + 24) % 24)), 0),
  ) as [number, number];
  const concentration = Math.hypot(x, y) / local.length;
  const mean = ((Math.atan2(y, x) / (2 * Math.PI)) * 24 + 24) % 24;
  const p = Math.min(
    1,
    Math.exp(Math.sqrt(1 + 4 * days + 4 * (days ** 2 - (days * concentration) ** 2)) - (1 + 2 * days)),
  );
  const types: [number, string][] = [
    [5, "definitely_evening"],
    [8, "definitely_morning"],
    [10, "moderately_morning"],
    [17, "intermediate"],
    [22, "moderately_evening"],
    [24, "definitely_evening"],
  ];
  return {
    days,
    hours: local.length,
    shares: counts.map((count) => count / local.length),
    mean,
    concentration,
    p,
    chronotype: p >= 0.05 ? "undetermined" : (types.find(([until]) => mean < until)?.[1] ?? ""),
  };
}
