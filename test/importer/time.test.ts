import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TimeFormat, type TimeRules, Times } from "../../src/importer/time.ts";
import { instantOf, offsetAt, placeOf, timeZone, wallClockOf } from "../../src/importer/time-zone.ts";

const utc = (text: string): number => Date.parse(`${text}Z`);
const parse = (text: string, timeZone: string, rules: Partial<TimeRules> = {}): unknown => {
  const time = new Times({ timeZone, ...rules }).read(text);
  return typeof time === "number" ? iso(time) : time;
};
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
    expect(parse(text, "Europe/Berlin")).toBe(expected);
  });

  test.each([
    ["2024-05-31 16:00:00 UTC", "dmy", "2024-05-31T16:00:00"],
    ["2024-05-31 16:00:00.123456 UTC", "dmy", "2024-05-31T16:00:00"],
    ["2024-05-31 16:00:00 GMT", "dmy", "2024-05-31T16:00:00"],
    ["2024-05-31 16:00:00 +0200", "dmy", "2024-05-31T14:00:00"],
    ["1717171200000000", "dmy", "2024-05-31T16:00:00"],
    ["1717171200000000000", "dmy", "2024-05-31T16:00:00"],
    ["23/01/23, 12:09", "dmy", "2023-01-23T12:09:00"],
    ["01/23/23, 12:09", "mdy", "2023-01-23T12:09:00"],
    ["23/01/23, 12:09", "ymd", "2023-01-23T12:09:00"],
    ["2023/01/23 12:09", "dmy", "2023-01-23T12:09:00"],
    ["31.05.2024 16:00:01", "dmy", "2024-05-31T16:00:01"],
    ["1/2/2024 3:04 PM", "mdy", "2024-01-02T15:04:00"],
    ["1/2/2024 12:04 a.m.", "dmy", "2024-02-01T00:04:00"],
    ["Fri, 31 May 2024 16:00:00 +0000", "dmy", "2024-05-31T16:00:00"],
    ["May 31, 2024 4:00 PM", "dmy", "2024-05-31T16:00:00"],
    ["31-May-24", "dmy", "2024-05-31T00:00:00"],
    ["0095-01-02 00:00:00", "dmy", "0095-01-02T00:00:00"],
    ["01/02/95", "dmy", "1995-02-01T00:00:00"],
    ["01/02/68", "dmy", "2068-02-01T00:00:00"],
  ] as const)("%s in the order %s is %s UTC", (text, dateOrder, expected) => {
    expect(parse(text, "UTC", { dateOrder })).toBe(expected);
  });

  test("the order of dates is recognized from the whole file, and refused where it is not known", () => {
    const recognized = (...texts: string[]): Times => {
      const times = new Times({ timeZone: "UTC" });
      for (const [index, text] of texts.entries()) times.note(text, index + 2);
      times.decide();
      return times;
    };
    expect(recognized("01/02/2024", "05/13/2024").read("01/02/2024")).toBe(utc("2024-01-02T00:00:00"));
    const times = recognized("01/02/2024", "13/05/2024");
    expect(times.read("01/02/2024")).toBe(utc("2024-02-01T00:00:00"));
    expect(times.notes()).toContain("dates are dmy, as line 3 shows: 13/05/2024");
    expect(() => recognized("01/02/2024", "02/03/2024")).toThrow(
      "the order of day and month is not known: 01/02/2024 can be either",
    );
    expect(() => recognized("13/02/2024", "02/13/2024")).toThrow(
      "the file has dates in two orders: line 2 has 13/02/2024, line 3 02/13/2024",
    );
    expect(() => new Times({ timeZone: "UTC" }).read("01/02/2024")).toThrow(/--date-order|not known/);
    // A year of two digits proves no order.
    const years = recognized("95-01-01", "01/02/2024", "13/05/2024");
    expect(years.notes()).toEqual(["dates are dmy, as line 4 shows: 13/05/2024"]);
    expect(years.read("95-01-01")).toMatchObject({ what: "a year of two digits" });
    expect(recognized("95-01-01").read("95-01-01")).toMatchObject({ what: "a year of two digits" });
    expect(new Times({ timeZone: "UTC", dateOrder: "ymd" }).read("95-01-02")).toBe(utc("1995-01-02T00:00:00"));
  });

  test("days are counted from a date, in the zone", () => {
    const since = { daysSince: utc("2013-10-01T00:00:00") };
    expect(parse("-10", "UTC", since)).toBe("2013-09-21T00:00:00");
    expect(parse("30", "Europe/London", since)).toBe("2013-10-31T00:00:00");
    expect(parse("1", "Europe/London", since)).toBe("2013-10-01T23:00:00");
    expect(parse("1.5", "UTC", since)).toMatchObject({ what: "not a number of days" });
  });

  test("other forms are given in the directives of strptime", () => {
    const read = (format: string, text: string): unknown => parse(text, "Europe/Berlin", { timeFormat: format });
    expect(read("%d/%m/%y, %H:%M", "03/04/24, 16:05")).toBe("2024-04-03T14:05:00");
    expect(read("%Y%m%d%H%M%S", "20240531160000")).toBe("2024-05-31T14:00:00");
    expect(read("%A, %d. %b %Y [%I:%M %p] %z", "Freitag, 31. May 2024 [04:00 PM] +0000")).toBe("2024-05-31T16:00:00");
    expect(read("%Y年%m月%d日 %H:%M", "2023年1月23日 12:09")).toBe("2023-01-23T11:09:00");
    expect(read("%Y-%m-%d", "2024-05-31 16:00")).toMatchObject({ what: "not a time of the form %Y-%m-%d" });
    expect(read("%d %b %Y", "31 Mai 2024")).toMatchObject({ what: '"Mai" is not an English month' });
    for (const format of ["%d/%m", "%Q", "%Y %Y %m %d", ""])
      expect(() => new TimeFormat(format)).toThrow(/time format/);
  });

  test.each([
    "",
    "yesterday",
    "2024-13-01",
    "2023-02-29 12:00:00",
    "2024-05-31 24:00:00",
    "2024-05-31T16:61:00Z",
    "infinity",
    "0",
    "-10",
    "20240531",
    "1/2/2024 13:00 PM",
    "31/02/2024",
    "2024/13/01",
    "100/1/2024",
    "31 Foo 2024",
  ])("%j is refused, and named", (text) => {
    expect(parse(text, "UTC", { dateOrder: "dmy" })).toMatchObject({
      what: expect.stringMatching(/time/),
      value: text,
    });
  });

  test("hours that occur twice or not at all are counted, with an example and the choice", () => {
    const times = new Times({ timeZone: "Europe/Rome" });
    expect(times.read("2024-03-31 02:30:00", 5)).toBe(utc("2024-03-31T01:30:00"));
    expect(times.read("2024-10-27 02:30:00", 6)).toBe(utc("2024-10-27T00:30:00"));
    times.read("2024-10-27 02:59:59", 7);
    times.read("2024-10-27 03:00:00", 8);
    times.read("2024-10-27T02:30:00+01:00", 9);
    expect(times.notes()).toEqual([
      "dates are year, month, day",
      "4 times without an offset: read in Europe/Rome",
      "1 time with an offset, or since 1970",
      "2 times of an hour that occurs twice in Europe/Rome: read as the first; line 6, 2024-10-27 02:30:00 is 2024-10-27T00:30:00.000Z",
      "1 time of an hour that does not exist in Europe/Rome: read with the offset of before it; line 5, 2024-03-31 02:30:00 is 2024-03-31T01:30:00.000Z",
    ]);
  });

  test("of each zone, as many minutes of a year occur twice or not at all as its clock is moved", () => {
    for (const zone of [
      "Europe/Rome",
      "America/St_Johns",
      "Australia/Lord_Howe",
      "Asia/Kolkata",
      "Africa/Casablanca",
    ]) {
      const counts = { repeated: 0, skipped: 0 };
      const moved = { repeated: 0, skipped: 0 };
      for (let minute = utc("2023-12-31T00:00:00"); minute < utc("2025-01-02T00:00:00"); minute += 60_000) {
        const { change } = placeOf(zone, minute);
        if (change !== undefined) counts[change] += 1;
        const step = offsetAt(zone, minute + 60_000) - offsetAt(zone, minute);
        if (step !== 0) moved[step > 0 ? "skipped" : "repeated"] += Math.abs(step) / 60_000;
      }
      expect(counts).toEqual(moved);
    }
  });
});
