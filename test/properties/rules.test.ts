import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../support/database.ts";
import { generator } from "../support/matrix.ts";
import { runs } from "../support/runs.ts";

/*
 * The rules of lists on random platforms, against an implementation of their description in TypeScript: which items are
 * left out and by which rule first, which amounts are added, what is pinned.
 */
const database = await testDatabase();
const AT = Math.floor(Date.now() / 1000) * 1000;
const DAY = 86_400_000;

interface Item {
  id: number;
  name: string;
  kind: string;
  parent?: number;
  mergedInto?: number;
  language?: string;
  attributes: Record<string, unknown>;
  from?: number;
  until?: number;
  requires: number[];
  enrolled: number;
}

interface Rule {
  name: string;
  action: string;
  items?: string[];
  within?: string;
  attribute?: string;
  value?: string;
  language?: string;
  kind?: string;
  set?: string;
  outside?: boolean;
  from?: number;
  until?: number;
  amount?: number;
  place?: number;
  period?: number;
  active?: boolean;
}

interface Context {
  leftOut: Map<number, string>;
  finished: number[];
  topics: string[];
  languages: string[];
  sets: string[];
  shown: Map<number, number>;
}

const kinds = ["course", "module"];
const sets = ["cohort.one", "cohort.two"];
const languages = ["de", "de-ch", "en", "fr"];

class Platform {
  readonly items: Item[] = [];
  readonly rules: Rule[] = [];
  private readonly next: () => number;

  constructor(seed: number) {
    this.next = generator(seed);
    const count = 6 + this.upTo(20);
    for (let id = 1; id <= count; id++) {
      const parent = this.chance(0.4) ? this.pick(this.items)?.id : undefined;
      this.items.push({
        id,
        name: `item-${id}`,
        kind: this.chance(0.7) ? "course" : "module",
        ...(parent === undefined ? {} : { parent }),
        ...(this.chance(0.6) ? { language: this.pick(["de", "de-CH", "de_CH", "en", "fr", "pt-BR"]) ?? "en" } : {}),
        attributes: {
          ...(this.chance(0.5) ? { subject: this.pick(["art", "law", "art "]) } : {}),
          ...(this.chance(0.5) ? { tag: this.pick(["new", "old"]) } : {}),
          ...(this.chance(0.3) ? { tags: [this.pick(["new", "old"]), "list"] } : {}),
          ...(this.chance(0.3) ? { capacity: this.pick([0, 1, 2, "2", "many", -1]) } : {}),
        },
        ...(this.chance(0.2) ? { from: AT + (this.upTo(5) - 2) * DAY } : {}),
        ...(this.chance(0.2) ? { until: AT + (this.upTo(5) - 2) * DAY } : {}),
        requires: [],
        enrolled: this.upTo(4),
      });
    }
    for (const item of this.items) {
      if (item.from !== undefined && item.until !== undefined && item.from >= item.until) delete item.until;
      if (this.chance(0.45)) {
        const required = this.pick(this.items.filter(({ id }) => id !== item.id))?.id;
        if (required !== undefined) item.requires.push(required);
      }
    }
    // Some items that are only further names.
    for (const item of this.items) {
      const target = this.pick(this.items.filter((one) => one.id !== item.id && one.mergedInto === undefined));
      const isUsed = this.items.some(
        (one) => one.parent === item.id || one.requires.includes(item.id) || one.mergedInto === item.id,
      );
      if (this.chance(0.15) && !isUsed && item.requires.length === 0 && target !== undefined) {
        item.mergedInto = target.id;
        item.kind = "merged";
        delete item.parent;
      }
    }
    for (const action of ["topic", "availability", "prerequisites", "capacity", "language"]) {
      if (this.chance(0.8)) this.rules.push({ name: action, action, ...this.scope() });
    }
    if (this.chance(0.5)) this.rules.push({ name: "not_again", action: "not_again", period: 3, ...this.scope() });
    if (this.chance(0.3)) this.rules.push({ name: "again", action: "not_again", period: 5, ...this.scope() });
    for (let n = this.upTo(8); n > 0; n--) {
      const action = this.pick(["exclude", "exclude", "include", "boost", "pin"]) ?? "boost";
      const scope = this.scope();
      const conditions: Partial<Rule> =
        action === "pin"
          ? { items: this.names(), place: 1 + this.upTo(4) }
          : {
              ...(this.chance(0.3) ? { items: this.names() } : {}),
              ...(this.chance(0.3) ? { within: this.pick(this.items)?.name ?? "" } : {}),
              ...(this.chance(0.3) ? { language: this.pick(languages) ?? "de" } : {}),
            };
      if (
        action !== "pin" &&
        (this.chance(0.3) || (Object.keys(conditions).length === 0 && scope.kind === undefined))
      ) {
        const [attribute, value] = this.pick([
          ["tag", "new"],
          ["tag", "old"],
          ["tags", "new"],
          ["subject", "law"],
        ]) ?? ["tag", "new"];
        if (this.items.some(({ attributes }) => attribute in attributes))
          Object.assign(conditions, { attribute, value });
        else conditions.language = "de";
      }
      this.rules.push({
        name: `rule_${n}`,
        action,
        ...scope,
        ...conditions,
        ...(action === "boost" ? { amount: n / 4 } : {}),
      });
    }
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  upTo(count: number): number {
    return Math.floor(this.next() * count);
  }

  pick<T>(list: readonly T[]): T | undefined {
    return list[this.upTo(list.length)];
  }

  private names(): string[] {
    return Array.from({ length: 1 + this.upTo(3) }, () => this.pick(this.items)?.name ?? "");
  }

  private scope(): Partial<Rule> {
    return {
      ...(this.chance(0.2) ? { kind: this.items.some(({ kind }) => kind === "module") ? "module" : "course" } : {}),
      ...(this.chance(0.3) ? { set: this.pick(sets) ?? "", outside: this.chance(0.5) } : {}),
      ...(this.pick([
        {},
        {},
        {},
        { from: AT },
        { from: AT + DAY },
        { until: AT },
        { until: AT + DAY },
        { from: AT - DAY, until: AT },
      ]) ?? {}),
      ...(this.chance(0.1) ? { active: false } : {}),
    };
  }

  context(): Context {
    const some = (share: number): number[] => this.items.filter(() => this.chance(share)).map(({ id }) => id);
    return {
      leftOut: new Map(
        some(0.1).map((id) => [id, this.pick(["completed", "taken", "enrolled", "own", "dismissed"]) ?? "taken"]),
      ),
      finished: some(0.2),
      topics: this.chance(0.3) ? ["law"] : [],
      languages: this.chance(0.5) ? [this.pick(["de", "de-at", "en"]) ?? "en"] : [],
      sets: sets.filter(() => this.chance(0.5)),
      shown: new Map(some(0.2).map((id) => [id, AT - this.upTo(8) * DAY])),
    };
  }

  /* ----------------------------------------------------------------------------- the rules, as they are described -- */

  item(id: number): Item {
    const item = this.items[id - 1];
    if (item === undefined) throw new Error(`there is no item ${id}`);
    return item;
  }

  named(name: string): number {
    const item = this.item(Number(name.replace("item-", "")));
    return item.mergedInto ?? item.id;
  }

  /** The item and those that contain it, the nearest first. */
  line(id: number): Item[] {
    const item = this.item(id);
    return item.parent === undefined ? [item] : [item, ...this.line(item.parent)];
  }

  /** Whether `to` comes before `from`, or is required for it. */
  reaches(from: number, to: number, seen = new Set<number>()): boolean {
    if (from === to) return true;
    if (seen.has(from)) return false;
    seen.add(from);
    const { requires, parent } = this.item(from);
    return [...requires, ...(parent === undefined ? [] : [parent])].some((id) => this.reaches(id, to, seen));
  }

  topic(id: number): string | undefined {
    const holder = this.line(id).find(({ attributes }) => typeof attributes["subject"] === "string");
    return holder?.attributes["subject"] as string | undefined;
  }

  applied(context: Context, kind: string, action: string): Rule[] {
    return this.rules
      .filter(
        (rule) =>
          rule.action === action &&
          rule.active !== false &&
          (rule.kind === undefined || rule.kind === kind) &&
          (rule.from === undefined || rule.from <= AT) &&
          (rule.until === undefined || rule.until > AT) &&
          (rule.set === undefined || context.sets.includes(rule.set) !== (rule.outside ?? false)),
      )
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  matches(rule: Rule, id: number): boolean {
    const { attributes } = this.item(id);
    const language = this.item(id).language?.toLowerCase().replace("_", "-");
    const value = attributes[rule.attribute ?? ""];
    return (
      (rule.items === undefined || rule.items.some((name) => this.named(name) === id)) &&
      (rule.within === undefined || this.line(id).some((one) => one.id === this.named(rule.within ?? ""))) &&
      (rule.language === undefined ||
        language === rule.language ||
        language?.startsWith(`${rule.language}-`) === true) &&
      (rule.attribute === undefined || (Array.isArray(value) ? value.includes(rule.value) : value === rule.value))
    );
  }

  blocked(context: Context, kind: string, id: number): string | undefined {
    const item = this.item(id);
    const first = (action: string): Rule | undefined => this.applied(context, kind, action)[0];
    const { capacity } = item.attributes;
    const shownAt = context.shown.get(id);
    const periods = this.applied(context, kind, "not_again").map(({ period }) => period ?? 0);
    const isAvailable = this.line(id).every(
      ({ from, until }) => (from === undefined || from <= AT) && (until === undefined || until > AT),
    );
    const isMissing = this.line(id).some(
      (holder) =>
        (holder.id === id || !["completed", "taken", "enrolled"].includes(context.leftOut.get(holder.id) ?? "")) &&
        holder.requires.some(
          (required) =>
            !context.finished.includes(required) &&
            !this.line(required).some(({ until }) => until !== undefined && until <= AT) &&
            !this.reaches(required, holder.id),
        ),
    );
    const ways: [string | undefined, boolean][] = [
      ["merged", item.mergedInto !== undefined],
      ["kind", item.kind !== kind],
      [context.leftOut.get(id), true],
      [first("topic")?.name, context.topics.includes(this.topic(id) ?? "")],
      [first("availability")?.name, !isAvailable],
      [first("prerequisites")?.name, isMissing],
      [first("capacity")?.name, /^[0-9]+$/.test(String(capacity)) && item.enrolled >= Number(capacity)],
      [
        first("language")?.name,
        context.languages.length > 0 &&
          item.language !== undefined &&
          !context.languages.some((one) => one.split("-")[0] === item.language?.toLowerCase().split(/[-_]/)[0]),
      ],
      [first("not_again")?.name, shownAt !== undefined && shownAt > AT - Math.max(...periods, 0) * DAY],
      [this.applied(context, kind, "exclude").find((rule) => this.matches(rule, id))?.name, true],
      [first("include")?.name, !this.applied(context, kind, "include").some((rule) => this.matches(rule, id))],
    ];
    return ways.find(([rule, applies]) => rule !== undefined && applies)?.[0];
  }
}

const time = (at: number | undefined): string | null => (at === undefined ? null : new Date(at).toISOString());

async function store(db: Queries, platform: Platform): Promise<Map<number, number>> {
  await db.query("delete from recommend.rule");
  const keys = new Map<number, number>();
  for (const item of platform.items) {
    keys.set(
      item.id,
      Number(
        await db.value(
          `insert into track.item (external_id, kind, language, attributes, available_from, available_until, parent_item_id)
           values ($1, $2, $3, $4, $5, $6, $7) returning item_id`,
          [
            item.name,
            item.kind,
            item.language,
            item.attributes,
            time(item.from),
            time(item.until),
            keys.get(item.parent ?? 0),
          ],
        ),
      ),
    );
  }
  const key = (id: number): number => keys.get(id) ?? 0;
  for (const { id, requires, mergedInto, enrolled } of platform.items) {
    await db.query("update track.item set merged_item_id = $2, target_item_id = $2 where item_id = $1", [
      key(id),
      mergedInto === undefined ? null : key(mergedInto),
    ]);
    for (const [depth, ancestor] of platform.line(id).entries()) {
      await db.query(
        `insert into track.item_ancestor (item_id, ancestor_item_id, depth) values ($1, $2, $3)
         on conflict (item_id, ancestor_item_id) do nothing`,
        [key(id), key(ancestor.id), depth],
      );
    }
    await db.query("insert into track.prerequisite (item_id, required_item_id) select $1, unnest($2::bigint[])", [
      key(id),
      requires.map(key),
    ]);
    await db.query(
      `insert into track.enrolment (person_id, item_id, status, enrolled_at, identity_id)
       select person.person_id, $1, case when n <= $2 then 'active' else 'dropped' end, now(), identity.identity_id
       from generate_series(1, $2 + 1) as n
       join track.identity on identity.external_id = 'p' || n
       join track.person using (person_id)`,
      [key(id), enrolled],
    );
  }
  for (const rule of platform.rules) {
    await db.query(
      `select recommend.set_rule($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
         make_interval(days => $15), $16)`,
      [
        rule.name,
        rule.action,
        rule.items,
        rule.within,
        rule.attribute,
        rule.value,
        rule.language,
        rule.kind,
        rule.set,
        rule.outside ?? false,
        time(rule.from),
        time(rule.until),
        rule.amount,
        rule.place,
        rule.period,
        rule.active ?? true,
      ],
    );
  }
  return keys;
}

describe("the rules of lists", () => {
  test("are those that are described, in their order", async () => {
    await database.query("select track.ingest($1)", [
      JSON.stringify(
        Array.from({ length: 5 }, (_, n) => ({
          type: "track",
          messageId: `m${n}`,
          userId: `p${n + 1}`,
          event: "Visited",
          timestamp: "2026-01-01T00:00:00Z",
        })),
      ),
    ]);
    await database.query("select track.refresh(1000)");
    for (const set of sets)
      await database.query("select track.set_person_set($1, array[track.find_person('p1')])", [set]);

    const decided = new Map<string, number>();
    let [boosted, pinned, circles] = [0, 0, 0];
    for (let seed = 1; seed <= runs(60, 12, database.native); seed++) {
      await database.as("postgres", {}, async (db) => {
        const platform = new Platform(seed);
        const keys = await store(db, platform);
        const ids = new Map([...keys].map(([id, key]) => [key, id]));
        const key = (id: number): number => keys.get(id) ?? 0;

        const problems = await db.rows<{ item: string; problem: string }>(
          "select item, problem from recommend.rule_problems() where problem like '%in turn%'",
        );
        expect(new Set(problems.map(({ item, problem }) => `${item} ${problem.split('"')[1]}`))).toEqual(
          new Set(
            platform.items.flatMap(({ id, name, requires }) =>
              requires
                .filter((required) => platform.reaches(required, id))
                .map((required) => `${name} ${platform.item(required).name}`),
            ),
          ),
        );
        circles += problems.length;
        for (let person = 0; person < 4; person++) {
          const context = platform.context();
          const values = [
            [...context.leftOut.keys()].map(key),
            [...context.leftOut.values()],
            context.finished.map(key),
            context.topics,
            context.languages,
            context.sets,
            [...context.shown.keys()].map(key),
            [...context.shown.values()].map(time),
          ];
          const row = `row(1, 1, '{}', '{}', $1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[],
            $7::bigint[], $8::timestamptz[])::recommend.person_context`;
          for (const kind of kinds) {
            const found = await db.rows<{ item_id: string; rule: string; detail: string }>(
              `select * from recommend._blocked(${row}, $9, $10, $11)`,
              [...values, kind, [...keys.values()], time(AT)],
            );
            expect(found.every(({ detail }) => detail.length > 0)).toBe(true);
            const expected = platform.items
              .map(({ id }) => ({ id, rule: platform.blocked(context, kind, id) }))
              .filter(({ rule }) => rule !== undefined);
            expect(
              found
                .map(({ item_id, rule }) => ({ id: ids.get(Number(item_id)), rule }))
                .sort((a, b) => (a.id ?? 0) - (b.id ?? 0)),
              `seed ${seed}`,
            ).toEqual(expected);
            for (const { rule } of expected) decided.set(rule ?? "", (decided.get(rule ?? "") ?? 0) + 1);

            const boosts = await db.rows<{ item_id: string; rule: string; amount: number }>(
              `select * from recommend._boosts(${row}, $9, $10)`,
              [...values, kind, [...keys.values()]],
            );
            const sorted = (list: readonly string[]): string[] => [...list].sort();
            expect(
              sorted(boosts.map(({ item_id, rule, amount }) => `${ids.get(Number(item_id))} ${rule} ${amount}`)),
            ).toEqual(
              sorted(
                platform
                  .applied(context, kind, "boost")
                  .flatMap((rule) =>
                    platform.items
                      .filter(({ id }) => platform.matches(rule, id))
                      .map(({ id }) => `${id} ${rule.name} ${rule.amount}`),
                  ),
              ),
            );
            boosted += boosts.length;

            const pins = await db.rows<{ item_id: string; place: number; rule: string }>(
              `select * from recommend._pins(${row}, $9)`,
              [...values, kind],
            );
            const places = new Map<number, string>();
            for (const rule of platform.applied(context, kind, "pin")) {
              // A repeated name is counted once.
              for (const [position, name] of [...new Set(rule.items)].entries()) {
                const id = platform.named(name);
                const place = `${(rule.place ?? 0) + position} ${rule.name}`;
                const known = places.get(id);
                if (known === undefined || place < known) places.set(id, place);
              }
            }
            expect(
              new Map(pins.map(({ item_id, place, rule }) => [ids.get(Number(item_id)), `${place} ${rule}`])),
            ).toEqual(places);
            expect(pins.map(({ place }) => place)).toEqual(pins.map(({ place }) => place).sort((a, b) => a - b));
            pinned += pins.length;
          }
        }
      });
    }
    // Each rule has decided, so that the comparison is not empty.
    for (const rule of [
      "merged",
      "kind",
      "taken",
      "topic",
      "availability",
      "prerequisites",
      "capacity",
      "language",
      "not_again",
    ]) {
      expect(decided.get(rule) ?? 0, rule).toBeGreaterThan(0);
    }
    expect([...decided.keys()].some((rule) => rule.startsWith("rule_"))).toBe(true);
    expect(Math.min(boosted, pinned, circles)).toBeGreaterThan(0);
  });

  test("an item that is merged or renamed keeps its rules, and the rules are back when the merge is undone", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("delete from recommend.rule");
      await db.query(
        `insert into track.item (external_id, kind) values ('old', 'course'), ('new', 'course'), ('part', 'module')`,
      );
      await db.query(
        "update track.item set parent_item_id = (select item_id from track.item where external_id = 'old') where external_id = 'part'",
      );
      await db.query(`insert into track.item_ancestor (item_id, ancestor_item_id, depth)
        select item_id, item_id, 0 from track.item union all select item_id, parent_item_id, 1 from track.item where parent_item_id is not null
        on conflict (item_id, ancestor_item_id) do nothing`);
      const left = async (kind = "course"): Promise<string[]> =>
        (
          await db.rows<{ name: string }>(
            `select external_id as name from recommend._blocked(null, $1, array(select item_id from track.item), now())
             join track.item using (item_id) where rule = 'one' order by 1`,
            [kind],
          )
        ).map(({ name }) => name);
      await db.query("select recommend.set_rule('one', 'exclude', items => '{old}')");
      expect(await left()).toEqual(["old"]);
      await db.query("select track.rename_item('old', 'older')");
      expect(await left()).toEqual(["older"]);
      await db.query("select track.merge_items('older', 'new')");
      expect(await left()).toEqual(["new"]);
      await db.query("select recommend.set_rule('one', 'exclude', within_item => 'older')");
      expect([await left(), await left("module")]).toEqual([["new"], ["part"]]);
      await db.query("select track.unmerge_item('older')");
      expect([await left(), await left("module")]).toEqual([["older"], ["part"]]);
    });
  });
});

/* ----------------------------------------------------------------------------------------------------- diversity -- */

describe("diversity", () => {
  interface Candidate {
    topic: string | undefined;
    /** The first numbers of the vector of the content; undefined without one. */
    content: number[] | undefined;
    score: number;
  }
  const scaled = (list: readonly Candidate[]): number[] => {
    const scores = list.map(({ score }) => score);
    const [low, high] = [Math.min(...scores), Math.max(...scores)];
    return scores.map((score) => (high === low ? 0 : (score - low) / (high - low)));
  };

  const unit = (list: readonly number[]): number[] => list.map((value) => value / Math.hypot(...list));

  /** Greedy choice by a value that is computed from scratch for each candidate in each step. */
  function greedy(count: number, top: number, value: (chosen: readonly number[], next: number) => number): number[] {
    const chosen: number[] = [];
    while (chosen.length < Math.min(top, count)) {
      let best = -1;
      let bestValue = Number.NEGATIVE_INFINITY;
      for (let next = 0; next < count; next++) {
        if (chosen.includes(next)) continue;
        const reached = value(chosen, next);
        if (reached > bestValue + 1e-12) [best, bestValue] = [next, reached];
      }
      chosen.push(best);
    }
    return [...chosen, ...Array.from({ length: count }, (_, n) => n).filter((n) => !chosen.includes(n))];
  }

  const similarity = (a: Candidate, b: Candidate): number =>
    (a.topic !== undefined && a.topic === b.topic ? 0.5 : 0) +
    0.5 * Math.max(0, a.content?.reduce((sum, value, n) => sum + value * (b.content?.[n] ?? 0), 0) ?? 0);

  for (const method of ["similarity", "calibration"]) {
    test(`by ${method} is that of a computation from scratch`, async () => {
      let changed = 0;
      for (let seed = 1; seed <= runs(20, 6, database.native); seed++) {
        const next = generator(seed);
        const count = 3 + Math.floor(next() * 25);
        const top = 1 + Math.floor(next() * 12);
        const diversity = Math.round(next() * 10) / 10;
        const list: Candidate[] = Array.from({ length: count }, () => ({
          topic: next() < 0.2 ? undefined : ["art", "law", "music"][Math.floor(next() * 3)],
          content: next() < 0.2 ? undefined : unit(Array.from({ length: 5 }, () => next() - 0.3)),
          score: Math.round(next() * 1000) / 1000,
        })).sort((a, b) => b.score - a.score);
        const liked = ["art", "art", "law", "other"].map((topic) => ({
          topic,
          strength: Math.round(next() * 8 - 1) / 8,
        }));
        const shares = new Map<string, number>();
        for (const { topic, strength } of liked) {
          if (strength > 0) shares.set(topic, (shares.get(topic) ?? 0) + strength);
        }
        const sum = [...shares.values()].reduce((a, b) => a + b, 0);
        const scores = scaled(list);
        const divergence = (chosen: readonly number[]): number =>
          [...shares].reduce((total, [topic, share]) => {
            const p = share / sum;
            const q = chosen.filter((n) => list[n]?.topic === topic).length / chosen.length;
            return total + p * Math.log(p / (0.99 * q + 0.01 * p));
          }, 0);
        const at = (n: number): Candidate => list[n] ?? { topic: undefined, content: undefined, score: 0 };
        const expected = greedy(count, diversity === 0 ? 0 : top, (chosen, n) =>
          method === "similarity"
            ? (1 - diversity) * (scores[n] ?? 0) -
              diversity * Math.max(0, ...chosen.map((other) => similarity(at(other), at(n))))
            : (1 - diversity) * (scores[n] ?? 0) - diversity * divergence([...chosen, n]),
        );

        await database.as("postgres", {}, async (db) => {
          await db.query("update recommend.setting set diversity_method = $1", [method]);
          await db.query(
            `with given as (
               select * from unnest($1::text[], $2::text[]) with ordinality as entry (content, topic, n)
             ),
             item as (
               insert into track.item (external_id, kind, attributes)
               select 'x' || n, 'course', case when topic is null then '{}' else jsonb_build_object('subject', topic) end
               from given
               returning item_id, external_id
             )
             insert into recommend.item_vector (item_id, content, described_at)
             select item.item_id, given.content::vector, now() from given join item on item.external_id = 'x' || n`,
            [
              [
                ...list.map(({ content }) => content && JSON.stringify([...content, ...Array(251).fill(0)])),
                ...liked.map(() => null),
              ],
              [...list.map(({ topic }) => topic ?? null), ...liked.map(({ topic }) => topic)],
            ],
          );
          const found = await db.rows<{ n: number }>(
            `with entry as (select item_id, substr(external_id, 2)::int as n from track.item where external_id ~ '^x[0-9]+$')
             select entry.n - 1 as n
             from unnest(
               recommend._diversify(
                 row(
                   1, 1, array(select item_id from entry where n > $4 order by n), $5::real[],
                   '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'
                 )::recommend.person_context,
                 array(select item_id from entry where n <= $4 order by n), $1, $2, $3
               )
             ) with ordinality as listed (item_id, place)
             join entry using (item_id)
             order by listed.place`,
            [list.map(({ score }) => score), top, diversity, count, liked.map(({ strength }) => strength)],
          );
          expect(
            found.map(({ n }) => n),
            `seed ${seed}`,
          ).toEqual(expected);
        });
        if (expected.some((n, place) => n !== place)) changed++;
      }
      expect(changed).toBeGreaterThan(2);
    });
  }
});

/* --------------------------------------------------------------------------------------------------- exploration -- */

describe("exploration", () => {
  const explore = (
    db: Queries,
    person: number | null,
    items: readonly number[],
    top: number,
    pinned: readonly number[] = [],
  ): Promise<{ item: number; place: number; propensity: number | null }[]> =>
    db.rows(
      `select item_id::int as item, place, propensity from recommend._explore(
         row($1, 1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')::recommend.person_context, $2, $3, $4)`,
      [person, items, top, pinned],
    );
  const inside = (slots: readonly number[], size: number, work: (db: Queries) => Promise<void>): Promise<void> =>
    database.as("postgres", {}, async (db) => {
      await db.query("update recommend.setting set explored_slots = $1, explored_pool_size = $2", [slots, size]);
      await work(db);
    });

  test("draws only for the marked slots, from the best items without a rank, and keeps the others in order", async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const next = generator(seed);
      const items = Array.from({ length: 1 + Math.floor(next() * 30) }, (_, n) => 100 + n);
      const slots = [...new Set(Array.from({ length: Math.floor(next() * 4) }, () => 1 + Math.floor(next() * 12)))];
      const top = 1 + Math.floor(next() * 12);
      const size = 2 + Math.floor(next() * 6);
      const rows = Math.min(top, items.length);
      const pins = next() < 0.5 ? [Math.floor(next() * items.length)] : [];
      await inside(slots, size, async (db) => {
        const pinned = pins.map((place) => items[place] ?? 0);
        const list = await explore(db, seed, items, top, pinned);
        expect(list.map(({ place }) => place)).toEqual(Array.from({ length: rows }, (_, n) => n + 1));
        expect(new Set(list.map(({ item }) => item)).size).toBe(rows);
        const drawn = slots.filter((slot) => slot <= rows && !pins.includes(slot - 1));
        expect(list.filter(({ propensity }) => propensity !== null).map(({ place }) => place)).toEqual(
          drawn.sort((a, b) => a - b),
        );
        for (const place of pins.filter((pin) => pin < rows)) expect(list[place]?.item).toBe(items[place]);
        const isPin = (item: number): boolean => pins.some((pin) => pin < rows && items[pin] === item);
        const queue = items.filter((item) => !isPin(item));
        const kept = list.filter(({ propensity, item }) => propensity === null && !isPin(item)).map(({ item }) => item);
        expect(kept).toEqual(queue.slice(0, kept.length));
        const pool = queue.slice(kept.length, kept.length + Math.max(size, drawn.length));
        for (const { item, propensity } of list.filter(({ propensity }) => propensity !== null)) {
          expect(pool).toContain(item);
          expect(propensity).toBe(1 / pool.length);
        }
        expect(await explore(db, seed, items, top, pinned)).toEqual(list);
        expect((await explore(db, null, items, top, pinned)).every(({ propensity }) => propensity === null)).toBe(true);
        // An item that leaves the pool changes no draw of another one.
        const undrawn = pool.find((item) => !list.some((row) => row.item === item));
        if (
          undrawn !== undefined &&
          pool.length > drawn.length &&
          items.length === kept.length + pool.length + pinned.length
        ) {
          const again = await explore(
            db,
            seed,
            items.filter((item) => item !== undrawn),
            top,
            pins[0] === undefined || pins[0] < rows ? pinned : [],
          );
          expect(again.map(({ item }) => item)).toEqual(list.map(({ item }) => item));
        }
      });
    }
  });

  test("draws each item of the pool in each slot with the probability that it states", async () => {
    await inside([2, 3], 5, async (db) => {
      const drawn = await db.rows<{ place: number; item: number; count: number }>(
        `select place, item_id::int as item, count(*)::int as count
         from generate_series(1, 3000) as person
         cross join lateral recommend._explore(
           row(person, 1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')::recommend.person_context,
           array[1, 2, 3, 4, 5, 6, 7, 8, 9], 4)
         where propensity = 0.2
         group by 1, 2 order by 1, 2`,
      );
      for (const slot of [2, 3]) {
        const counts = drawn.filter(({ place }) => place === slot);
        expect(counts.map(({ item }) => item)).toEqual([3, 4, 5, 6, 7]);
        // The χ² statistic with 4 degrees of freedom exceeds 50 with a probability of 4e-10.
        expect(counts.reduce((sum, { count }) => sum + (count - 600) ** 2 / 600, 0)).toBeLessThan(50);
      }
    });
  });
});
