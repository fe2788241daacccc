import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseTime } from "../../src/importer/time.ts";
import { instantOf, offsetAt, timeZone, wallClockOf } from "../../src/importer/time-zone.ts";

const utc = (text: string): number => Date.parse(`${text}Z`);
const iso = (instant: number): string => new Date(instant).toISOString().slice(0, 19);

describe("time zones", () => {
  test.each([
    // Summer and winter, half hours, the southern hemisphere.
    ["Europe/Berlin", "2026-07-01T12:00:00", "2026-07-01T10:00:00"],
    ["Europe/Berlin", "2026-01-01T12:00:00", "2026-01-01T11:00:00"],
    ["Asia/Kolkata", "2026-07-01T12:00:00", "2026-07-01T06:30:00"],
    ["Asia/Kathmandu", "2026-07-01T12:00:00", "2026-07-01T06:15:00"],
    ["Australia/Sydney", "2026-01-01T12:00:00", "2026-01-01T01:00:00"],
    ["America/Los_Angeles", "2026-07-01T20:00:00", "2026-07-02T03:00:00"],
    // The hour that Berlin's clocks skipped on 29 March 2026, and the one that they show twice on 25 October.
    ["Europe/Berlin", "2026-03-29T01:59:59", "2026-03-29T00:59:59"],
    ["Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:30:00"],
    ["Europe/Berlin", "2026-03-29T03:00:00", "2026-03-29T01:00:00"],
    ["Europe/Berlin", "2026-10-25T01:59:59", "2026-10-24T23:59:59"],
    ["Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25T00:30:00"],
    ["Europe/Berlin", "2026-10-25T03:00:00", "2026-10-25T02:00:00"],
    // Samoa skipped the whole of 30 December 2011.
    ["Pacific/Apia", "2011-12-31T00:00:00", "2011-12-30T10:00:00"],
  ])("%s %s is %s UTC", (zone, wallClock, instant) => {
    expect(iso(instantOf(zone, utc(wallClock)))).toBe(instant);
  });

  test("the local time of an instant converts back to it, or to its first occurrence", () => {
    const zones = fc.constantFrom("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC");
    fc.assert(
      fc.property(
        zones,
        fc.integer({ min: utc("1990-01-01T00:00:00"), max: utc("2035-01-01T00:00:00") }),
        (zone, t) => {
          const back = instantOf(zone, wallClockOf(zone, t));
          expect(wallClockOf(zone, back)).toBe(wallClockOf(zone, t));
          expect(t - back).toBeGreaterThanOrEqual(0);
          expect(t - back).toBeLessThanOrEqual(3_600_000);
        },
      ),
    );
  });

  test("names are checked", () => {
    expect(timeZone("Europe/Berlin")).toBe("Europe/Berlin");
    expect(timeZone("Europe/Belrin")).toBeUndefined();
    expect(offsetAt("UTC", 0)).toBe(0);
  });
});

describe("times in files", () => {
  test.each([
    ["2024-05-31T16:00:00Z", "2024-05-31T16:00:00"],
    ["2024-05-31 16:00:00", "2024-05-31T14:00:00"],
    ["2024-05-31 16:00", "2024-05-31T14:00:00"],
    ["2024-05-31", "2024-05-30T22:00:00"],
    ["2024-05-31T16:00:00.25-03:30", "2024-05-31T19:30:00"],
    ["2024-05-31 16:00:00+02", "2024-05-31T14:00:00"],
    ["881250949", "1997-12-04T15:55:49"],
    ["881250949000", "1997-12-04T15:55:49"],
    ["2024-02-29 12:00:00", "2024-02-29T11:00:00"],
  ])("%s is %s UTC for Berlin", (text, expected) => {
    const time = parseTime(text, "Europe/Berlin");
    expect(typeof time === "number" ? iso(time) : time).toBe(expected);
  });

  test.each([
    "",
    "yesterday",
    "03/04/2024",
    "2024-13-01",
    "2023-02-29 12:00:00",
    "2024-05-31 24:00:00",
    "2024-05-31T16:61:00Z",
    "infinity",
  ])("%j is refused, and named", (text) => {
    expect(parseTime(text, "UTC")).toMatchObject({ what: expect.stringMatching(/time/), value: text });
  });
});
