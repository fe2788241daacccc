/**
 * Wall-clock times of a named time zone, through the time zone rules of Node's Intl.
 *
 * PostgreSQL could do this too (`timestamp at time zone`), but the wire format is an instant, and the row's own time
 * must be known before it is sent.
 */

const formatters = new Map<string, Intl.DateTimeFormat>();
const offsets = new Map<string, Map<number, number>>();

/** Since 1970, every offset of a zone has changed at a multiple of a quarter of an hour. */
const SLOT = 900_000;

/** A zone's name as Intl writes it; undefined for an unknown zone. */
export function timeZone(name: string): string | undefined {
  try {
    return formatter(name).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}

/** The zone's offset from UTC at an instant, in milliseconds, positive to the east. */
export function offsetAt(zone: string, instant: number): number {
  let known = offsets.get(zone);
  if (known === undefined) {
    known = new Map();
    offsets.set(zone, known);
  }
  const slot = Math.floor(instant / SLOT);
  let offset = known.get(slot);
  if (offset === undefined) {
    const start = slot * SLOT;
    const part: Record<string, number> = {};
    for (const { type, value } of formatter(zone).formatToParts(start)) part[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
    // Date.UTC reads the years 0 to 99 as 1900 to 1999.
    const wallClock = new Date(Date.UTC(2000, month - 1, day, hour, minute, second)).setUTCFullYear(
      year,
      month - 1,
      day,
    );
    offset = wallClock - start;
    known.set(slot, offset);
  }
  return offset;
}

/**
 * The instant of a wall-clock time of the zone, which is given as if it were UTC.
 *
 * A time that occurs twice means its first occurrence; a time that is skipped is read with the offset before the gap,
 * which is after it (RFC 5545, 3.3.5; "compatible" in Temporal).
 */
export function instantOf(zone: string, wallClock: number): number {
  return placeOf(zone, wallClock).instant;
}

/** The instant of a wall-clock time, and whether a change of the clock makes it occur twice, or skips it. */
export function placeOf(zone: string, wallClock: number): { instant: number; change?: "repeated" | "skipped" } {
  const before = offsetAt(zone, wallClock - 86_400_000);
  const after = offsetAt(zone, wallClock + 86_400_000);
  if (before === after) return { instant: wallClock - before };
  const earlier = wallClock - Math.max(before, after);
  const later = wallClock - Math.min(before, after);
  const [isEarlier, isLater] = [earlier, later].map((instant) => offsetAt(zone, instant) === wallClock - instant);
  if (isEarlier) return isLater ? { instant: earlier, change: "repeated" } : { instant: earlier };
  return isLater ? { instant: later } : { instant: wallClock - before, change: "skipped" };
}

/** The wall-clock time of the zone at an instant, as if it were UTC. */
export function wallClockOf(zone: string, instant: number): number {
  return instant + offsetAt(zone, instant);
}

function formatter(zone: string): Intl.DateTimeFormat {
  let known = formatters.get(zone);
  if (known === undefined) {
    known = new Intl.DateTimeFormat("en-US", {
      timeZone: zone,
      calendar: "iso8601",
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    formatters.set(zone, known);
  }
  return known;
}
