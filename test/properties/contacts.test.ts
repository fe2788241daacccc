import { expect, test } from "vitest";
import { Random } from "../../src/simulator/random.ts";
import { ingest, message } from "../sql/track/messages.ts";
import { testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/*
 * Contact data in random texts: what is an e-mail address or a phone number is masked and counted, everything else is as
 * it was sent. The generators are written by the formats' own definitions (E.164, RFC 4122, ISO 8601, ISBN), and do not
 * know the patterns.
 */

const database = await testDatabase();

type Make = (random: Random) => string;

const digits = (random: Random, count: number): string =>
  Array.from({ length: count }, () => random.integer(0, 9)).join("");
const from = (random: Random, alphabet: string, count: number): string =>
  Array.from({ length: count }, () => alphabet[random.integer(0, alphabet.length - 1)]).join("");
const pick = <T>(random: Random, list: readonly T[]): T => list[random.integer(0, list.length - 1)] as T;
const letters = "abcdefghijklmnopqrstuvwxyz";
const two = (value: number): string => String(value).padStart(2, "0");

/** ISBN-13 or ISBN-10 with its groups: registration group, registrant, publication and check digit. */
const isbn: Make = (random) => {
  const separator = pick(random, ["-", " ", ""]);
  const group = pick(random, ["0", "1", "2", "3", "99921"]);
  const registrant = digits(random, random.integer(2, 5));
  const publication = digits(random, Math.max(1, 9 - group.length - registrant.length));
  const long = random.chance(0.5);
  const body = [group, registrant, publication, long ? digits(random, 1) : pick(random, ["X", digits(random, 1)])];
  return (long ? ["978", ...body] : body).join(separator);
};

const time: Make = (random) => {
  const [year, month, day] = [random.integer(1990, 2050), two(random.integer(1, 12)), two(random.integer(1, 28))];
  const clock = `${two(random.integer(0, 23))}:${two(random.integer(0, 59))}:${two(random.integer(0, 59))}`;
  const zone = pick(random, ["Z", "+02:00", "-0530", ""]);
  return pick(random, [
    `${year}-${month}-${day}`,
    `${year}-${month}-${day}T${clock}.${digits(random, 3)}${zone}`,
    `${year}-${month}-${day} ${clock}${zone}`,
    `${day}.${month}.${year} ${clock}`,
    `${month}/${day}/${year}`,
    `${day}-${month}-${year}`,
    `${year}${month}${day}`,
    String(Date.UTC(year, 0, 1) + random.integer(0, 1e9)),
  ]);
};

const others: Record<string, Make> = {
  "decimal ids": (random) => digits(random, random.integer(1, 24)),
  UUIDs: (random) => [8, 4, 4, 4, 12].map((length) => from(random, "0123456789abcdef", length)).join("-"),
  "UUIDs of digits": (random) => [8, 4, 4, 4, 12].map((length) => digits(random, length)).join("-"),
  hashes: (random) => from(random, "0123456789abcdef", pick(random, [8, 32, 40, 64])),
  "random ids": (random) => from(random, `${letters}${letters.toUpperCase()}0123456789_-`, 21),
  "names with numbers": (random) => `${from(random, letters, 4)}-${digits(random, random.integer(1, 8))}`,
  times: time,
  scores: (random) => String(random.between(-1000, 1000)),
  percentages: (random) => `${random.between(0, 100).toFixed(random.integer(0, 6))} %`,
  "signed numbers": (random) => `+${random.between(0, 100).toFixed(random.integer(1, 8))}`,
  ISBNs: isbn,
  versions: (random) => `v${random.integer(0, 30)}.${random.integer(0, 30)}.${random.integer(0, 300)}`,
  packages: (random) => `${from(random, letters, 6)}@${random.integer(0, 30)}.${random.integer(0, 30)}.0`,
  addresses: (random) => Array.from({ length: 4 }, () => random.integer(0, 255)).join("."),
  paths: (random) => `/${from(random, letters, 5)}/${random.integer(2000, 2030)}/${digits(random, 6)}`,
  words: (random) => Array.from({ length: 5 }, () => from(random, letters, random.integer(1, 9))).join(" "),
};

const contacts: Record<string, Make> = {
  "E.164": (random) => `+${random.integer(1, 9)}${digits(random, random.integer(8, 14))}`,
  "E.164 in groups": (random) => {
    const separator = pick(random, [" ", "-", "."]);
    return `+${pick(random, ["1", "41", "44", "49", "971"])}${separator}${[
      String(random.integer(20, 999)),
      digits(random, 3),
      digits(random, 4),
    ].join(separator)}`;
  },
  "North American": (random) => {
    const [area, exchange, line] = [random.integer(200, 999), random.integer(200, 999), digits(random, 4)];
    return pick(random, [
      `(${area}) ${exchange}-${line}`,
      `${area}-${exchange}-${line}`,
      `${area}.${exchange}.${line}`,
    ]);
  },
  Swiss: (random) => `0${random.integer(21, 91)} ${digits(random, 3)} ${digits(random, 2)} ${digits(random, 2)}`,
  French: (random) =>
    [`0${random.integer(1, 9)}`, ...Array.from({ length: 4 }, () => digits(random, 2))].join(pick(random, [" ", "."])),
  German: (random) => `0${random.integer(151, 179)}${pick(random, [" ", "/", "-"])}${digits(random, 8)}`,
  "international with 00": (random) => `00${pick(random, ["41", "49"])} ${random.integer(20, 99)} ${digits(random, 7)}`,
};

const address: Make = (random) =>
  `${from(random, `${letters}0123456789`, random.integer(1, 20))}${pick(random, ["", ".x", "+tag", "_1"])}${pick(random, ["@", "%40"])}${from(random, letters, random.integer(2, 12))}.${pick(random, ["example", "org", "co.uk", "museum"])}`;

const size = runs(150, 40, database.native);

test.each(Object.entries(others))("%s are nothing", async (name, make) => {
  const random = new Random(`others ${name}`);
  await database.as("postgres", {}, async (db) => {
    await db.query("update track.setting set personal_data = 'refuse'");
    const batch = Array.from({ length: size * 5 }, () => {
      const value = make(random);
      return message({ properties: { value, text: `the ${value}, and`, [`n${value}`]: [value, { id: value }] } });
    });
    const { errors } = await ingest(db, batch);
    expect(errors.map(({ index }) => batch[index]?.["properties"])).toEqual([]);
  });
});

test.each([...Object.entries(contacts), ["e-mail", address] as [string, Make]])(
  "%s is masked and counted, at any place of a text",
  async (name, make) => {
    const random = new Random(`contacts ${name}`);
    const [mask, kind] = name === "e-mail" ? ["[e-mail]", "e-mail"] : ["[phone]", "phone"];
    await database.as("postgres", {}, async (db) => {
      await db.query("update track.setting set personal_data = 'mask'");
      const word: Make = (other) => from(other, letters, 5);
      const cases = Array.from({ length: size }, () => {
        const value = make(random);
        const [before, after] = pick(random, [
          ["", ""],
          [`${word(random)} `, ` ${word(random)}`],
          [`${word(random)}: `, "."],
          ["(", ")"],
          ["\n", "\n"],
          ['"', '"'],
        ] as const);
        return { value, sent: `${before}${value}${after}`, expected: `${before}${mask}${after}` };
      });
      await ingest(
        db,
        cases.map(({ sent }, index) => message({ properties: { index, text: sent, deep: [{ text: sent }] } })),
      );
      const stored = await db.rows<{ properties: unknown }>(
        "select properties from track.event order by (properties ->> 'index')::int",
      );
      expect(stored.map((row) => row.properties)).toEqual(
        cases.map(({ expected }, index) => ({ index, text: expected, deep: [{ text: expected }] })),
      );
      expect(await db.rows("select property, kind, found::int as found from track.personal_data_found()")).toEqual([
        { property: "properties.deep[].text", kind, found: size },
        { property: "properties.text", kind, found: size },
      ]);
    });
  },
);

test("the order and the batches of messages change neither what is stored nor the counts", async () => {
  const random = new Random("order");
  const makes = [...Object.values(contacts), address, ...Object.values(others)];
  const messages = Array.from({ length: size * 3 }, () =>
    message({
      event: pick(random, ["A", "B"]),
      timestamp: "2026-02-03T04:05:06Z",
      properties: { a: pick(random, makes)(random), ip: "203.0.113.1", list: [pick(random, makes)(random)] },
    }),
  );
  const run = (batches: (typeof messages)[]): Promise<unknown> =>
    database.as("postgres", {}, async (db) => {
      await db.query("update track.setting set personal_data = 'mask'");
      for (const batch of batches) await ingest(db, batch);
      return {
        events: await db.rows(
          "select name, properties from track.event join track.event_type using (event_type_id) order by event_id",
        ),
        found: await db.rows("select event, property, kind, found from track.personal_data_found() order by 1, 2, 3"),
        dropped: await db.rows("select event, property, kind, found from track.dropped_data() order by 1, 2, 3"),
      };
    });
  const whole = await run([messages]);
  expect(await run(messages.toReversed().map((one) => [one]))).toEqual(whole);
  expect(await run([messages.slice(10), messages.slice(0, 50)])).toEqual(whole);
});

test("the quick search finds what is masked in any text, and never a UUID", async () => {
  const random = new Random("quick search");
  const parts = ["0", "1", "2", "7", "00", "0151", "212", "555", "2368", " ", " ", "-", ".", "/", "(", ")", "+", "%2B"];
  parts.push("@", "%40", "example.org", "a", '"', "\\", "n", "\n", "\t", "\u00a0", ":", ",", "phone", "Tel", ": ", "é");
  const texts = Array.from({ length: 40_000 }, () =>
    Array.from({ length: random.integer(3, 16) }, () => pick(random, parts)).join(""),
  );
  const [found] = await database.rows<{ masked: number; missed: number; uuids: number }>(
    `select count(*) filter (where masked <> text)::int as masked,
       count(*) filter (where masked <> text and not track._may_hold_contacts(' ' || to_jsonb(text)::text))::int as missed,
       count(*) filter (where track._may_hold_contacts(' {"viewId": "' || gen_random_uuid() || '"}'))::int as uuids
     from (select text, track._mask_word(text, true) as masked from unnest($1::text[]) as text) as checked`,
    [texts],
  );
  expect(found).toMatchObject({ missed: 0, uuids: 0 });
  expect(found?.masked).toBeGreaterThan(100);
});
