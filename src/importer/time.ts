import { type Problem, shown } from "./problem.ts";
import { instantOf } from "./time-zone.ts";

const WALL_CLOCK =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?\s*(Z|z|[+-]\d{2}(?::?\d{2})?)?$/;
const EPOCH = /^-?\d{1,13}(?:\.\d{1,9})?$/;

/** Larger numbers of the epoch are milliseconds: as seconds this would be the year 5138. */
const FIRST_MILLISECONDS = 100_000_000_000;

/**
 * The instant in a cell: ISO 8601 with an offset, a wall-clock time of the zone, or seconds or milliseconds since 1970.
 *
 * Formats such as 03/04/2024 are refused, because the order of day and month is ambiguous.
 */
export function parseTime(text: string, zone: string): number | Problem {
  if (EPOCH.test(text)) {
    const epoch = Number(text);
    return Math.round(Math.abs(epoch) < FIRST_MILLISECONDS ? epoch * 1_000 : epoch);
  }
  const wrong = (what: string): Problem => ({
    what,
    value: shown(text),
    hint: "write 2024-05-31 16:00:00 (in --time-zone), 2024-05-31T16:00:00+02:00, or seconds since 1970",
  });
  const found = WALL_CLOCK.exec(text);
  if (found === null) return wrong("not a time");
  const [, year, month, day, hour = "0", minute = "0", second = "0", fraction = "0", offset] = found;
  const wallClock =
    Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second)) +
    Math.round(Number(`0.${fraction}`) * 1_000);
  // Date normalises invalid dates: 30 February becomes 1 March.
  const date = new Date(wallClock);
  const exists =
    date.getUTCMonth() === Number(month) - 1 &&
    date.getUTCDate() === Number(day) &&
    Number(hour) < 24 &&
    Number(minute) < 60 &&
    Number(second) < 60;
  if (!exists) return wrong("a time that does not exist");
  if (offset === undefined) return instantOf(zone, wallClock);
  return wallClock - minutesOf(offset) * 60_000;
}

function minutesOf(offset: string): number {
  if (offset === "Z" || offset === "z") return 0;
  const digits = offset.slice(1).replace(":", "");
  const minutes = Number(digits.slice(0, 2)) * 60 + Number(digits.slice(2) || "0");
  return offset.startsWith("-") ? -minutes : minutes;
}
