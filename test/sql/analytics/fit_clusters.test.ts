import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { message, refresh } from "../track/messages.ts";
import { behave, KINDS, kindsByCluster, membersByCluster, populate, today } from "./behaviours.ts";
import { DAY, happen } from "./people.ts";

const database = await testDatabase();
await populate(database);

interface Fit {
  people: number;
  clusters: number;
  silhouette: number;
  tried: number[];
  silhouettes: number[];
}

/** As the worker, so that row security and privileges apply. */
async function clustered(db: Queries, seed = 0): Promise<Fit | undefined> {
  const [found] = await db.rows<Fit>(
    `select person_count as people, cluster_count as clusters, silhouette, tried, silhouettes
     from analytics.fit_clusters($1)`,
    [seed],
  );
  return found;
}
const centroids = (db: Queries): Promise<object[]> =>
  db.rows(
    "select name, centroid, means, deviations, person_count from analytics.cluster where retired_at is null order by name",
  );
/** In a transaction that is rolled back; later statements see the clock of an hour, day or week later. */
const trial = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

test("the clusters are the kinds of people, named by what they do", async () => {
  await trial(async (db) => {
    const found = await clustered(db);
    expect(found).toMatchObject({ people: 80, clusters: 4, tried: [3, 4, 5, 6, 7, 8] });
    expect(found?.silhouette).toBe(Math.max(...(found?.silhouettes ?? [])));
    expect(found?.silhouette).toBeGreaterThan(0.6);
    const kinds = await kindsByCluster(db);
    expect(Object.values(kinds).sort()).toEqual(KINDS.map((kind) => [kind]).sort());
    for (const [name, [kind]] of Object.entries(kinds)) {
      if (kind === "night" || kind === "weekend") expect(name).toContain(kind);
      if (kind === "daily") expect(name).toMatch(/frequent|short_gaps|many_completions|same_hours/);
      if (kind === "rare") expect(name).toMatch(/few|infrequent|long_gaps/);
    }
    const all = Object.values(await membersByCluster(db)).flat();
    expect(all).toHaveLength(80);
    expect(new Set(all).size).toBe(80);
  });
});

test("a cluster is a set of people: a filter, and with the others a breakdown that adds up", async () => {
  await trial(async (db) => {
    await clustered(db);
    const since = new Date(today - 28 * DAY).toISOString();
    const sizes = await db.rows<{ cluster: string; count: number }>(
      "select cluster, person_count::int as count from analytics.clusters() order by 1",
    );
    for (const { cluster, count } of sizes) {
      expect(
        await db.value(
          `select person_count::int from analytics.active_people('Page Viewed', $1, $2, windows => '{28}', among => $3)
           order by bucket_start desc limit 1`,
          [since, new Date(today).toISOString(), `cluster.${cluster}`],
        ),
      ).toBe(count);
    }
    const funnel = `select breakdown_value as cluster, person_count::int as count
      from analytics.funnel('["Page Viewed", "Task Submitted"]', since => $1, until => $2, breakdown => 'set.cluster')
      where step = 1 order by 1`;
    expect(await db.rows(funnel, [since, new Date(today).toISOString()])).toEqual(sizes);
  });
});

test("the features are those of the definition", async () => {
  await trial(async (db) => {
    await happen(
      db,
      message({ type: "identify", userId: "night-3", event: undefined, traits: { timezone: "Asia/Tokyo" } }),
    );
    const behaviour = await db.rows<{ person: string; features: number[] }>(
      `select external_id as person, features from analytics._behaviour($1, $2) as behaviour
     join track.identity on identity.identity_id = behaviour.person_id`,
      [new Date(today - 28 * DAY), new Date(today)],
    );
    expect(behaviour).toHaveLength(80);
    const events = await db.rows<{ person: string; at: Date; event: string; item: string }>(
      `select identity.external_id as person, occurred_at as at, event_type.name as event, item.external_id as item
     from track.event join track.event_type using (event_type_id) join track.item using (item_id)
     join track.identity on identity.identity_id = event.person_id where occurred_at >= $1 and occurred_at < $2`,
      [new Date(today - 28 * DAY), new Date(today)],
    );
    const sessions = await db.rows<{ person: string; count: number; minutes: number }>(
      `select external_id as person, count(*)::int as count, sum(extract(epoch from engaged))::float8 / 60 as minutes
     from track.session join track.identity on identity.identity_id = session.person_id group by 1`,
    );
    for (const { person, features } of behaviour) {
      const own = events.filter((event) => event.person === person);
      const days = [...new Set(own.map(({ at }) => Math.floor((at.getTime() - today) / DAY) + 28))].sort(
        (a, b) => a - b,
      );
      const edges = [-1, ...days, 28];
      // Tokyo is nine hours ahead all the year.
      const ahead = person === "night-3" ? 9 : 0;
      const hours = [...new Set(own.map(({ at }) => Math.floor(at.getTime() / 3_600_000) + ahead))].map(
        (hour) => new Date(hour * 3_600_000),
      );
      const share = (is: (at: Date) => boolean): number => hours.filter(is).length / hours.length;
      const cosines = hours.flatMap((a, i) =>
        hours.flatMap((b, j) => (i === j ? [] : [Math.cos(((a.getUTCHours() - b.getUTCHours()) * Math.PI) / 12)])),
      );
      const session = sessions.find((row) => row.person === person) as { count: number; minutes: number };
      const expected = [
        days.length,
        Math.max(...edges.slice(1).map((day, index) => day - (edges[index] as number) - 1)),
        session.count / days.length,
        session.minutes / days.length,
        new Set(own.map(({ item }) => item)).size,
        new Set(own.filter(({ event }) => event === "Task Submitted").map(({ item }) => item)).size,
        share((at) => [0, 6].includes(at.getUTCDay())),
        share((at) => at.getUTCHours() >= 22 || at.getUTCHours() < 6),
        cosines.length === 0 ? 0 : cosines.reduce((sum, cosine) => sum + cosine, 0) / cosines.length,
      ];
      features.forEach((feature, index) => {
        expect(feature, `${person}, feature ${index + 1}`).toBeCloseTo(expected[index] as number, 9);
      });
    }
  });
});

test("the same people and seed give the same clusters; another seed finds the same kinds", async () => {
  const once = await trial(async (db) => [await clustered(db), await centroids(db)]);
  expect(await trial(async (db) => [await clustered(db), await centroids(db)])).toEqual(once);
  await trial(async (db) => {
    await clustered(db, 12_345);
    expect(Object.values(await kindsByCluster(db)).sort()).toEqual(KINDS.map((kind) => [kind]).sort());
  });
});

test("names stay when people change, also when the clusters are found in another order", async () => {
  await trial(async (db) => {
    await clustered(db);
    const before = await kindsByCluster(db);
    const rare = Object.keys(before).find((name) => before[name]?.[0] === "rare") as string;
    await db.query("select analytics.rename_cluster($1, 'visitors', 'They came once or twice.')", [rare]);
    // Ten new people, and five who come every day now.
    await happen(
      db,
      ...Array.from({ length: 10 }, (_, index) => behave(`new-${index}`, "night", 900 + index)).flat(),
      ...Array.from({ length: 5 }, (_, index) => behave(`rare-${index}`, "daily", 950 + index)).flat(),
    );
    await clustered(db, 99);
    const after = await membersByCluster(db);
    expect(Object.keys(after).sort()).toEqual(
      Object.keys(before)
        .map((name) => (name === rare ? "visitors" : name))
        .sort(),
    );
    const night = Object.keys(before).find((name) => before[name]?.[0] === "night") as string;
    const daily = Object.keys(before).find((name) => before[name]?.[0] === "daily") as string;
    expect(after[night]).toHaveLength(30);
    expect(after[daily]).toHaveLength(25);
    expect(after["visitors"]).toHaveLength(15);
    expect(await db.value("select description from analytics.clusters() where cluster = 'visitors'")).toBe(
      "They came once or twice.",
    );
  });
});

test("a cluster that is not found any more is retired: its set is empty, and the name can come back", async () => {
  await trial(async (db) => {
    await clustered(db);
    const before = await kindsByCluster(db);
    const night = Object.keys(before).find((name) => before[name]?.[0] === "night") as string;
    for (let person = 0; person < 20; person++)
      await db.query("select track.exclude_person($1, 'test')", [`night-${person}`]);
    await refresh(db);
    expect(await clustered(db)).toMatchObject({ people: 60 });
    expect(Object.values(await kindsByCluster(db)).flat()).not.toContain("night");
    expect(
      await db.value("select retired_at is not null and centroid is null from analytics.cluster where name = $1", [
        `cluster.${night}`,
      ]),
    ).toBe(true);
    expect(await db.value("select track.person_set_size($1)::int", [`cluster.${night}`])).toBe(0);
    for (let person = 0; person < 20; person++) await db.query("select track.include_person($1)", [`night-${person}`]);
    await refresh(db);
    await clustered(db);
    expect((await kindsByCluster(db))[night]).toEqual(["night"]);
  });
});

test("an erased person is in no later fit: it is the fit of a database that never knew her", async () => {
  const without = await trial(async (db) => {
    await clustered(db);
    // Excluded people have the same effect on the fit as people who do not exist.
    await db.query("select track.exclude_person('daily-7', 'test')");
    await refresh(db);
    return [await clustered(db), await centroids(db)];
  });
  await trial(async (db) => {
    await clustered(db);
    const cluster = await db.value<string>(
      "select name from analytics.cluster_member join track.identity using (identity_id) where external_id = 'daily-7'",
    );
    expect(await db.value("select is_marked from analytics.cluster_setting")).toBe(false);
    await db.query("select privacy.erase_person('daily-7')");
    // She leaves the set at once; the means are marked.
    expect(await db.value("select is_marked from analytics.cluster_setting")).toBe(true);
    expect(await db.value("select count(*)::int from analytics.cohort_people($1)", [cluster])).toBe(19);
    const erased = [await clustered(db), await centroids(db)];
    expect(erased).toEqual(without);
    expect(await db.value("select is_marked from analytics.cluster_setting")).toBe(false);
  });
});

test("a person who opts out leaves her cluster at once, and is in no later fit", async () => {
  await trial(async (db) => {
    await clustered(db);
    await db.query("select privacy.record_consent(track.find_person('daily-7'), 'analytics', false)");
    expect(Object.values(await membersByCluster(db)).flat()).not.toContain("daily-7");
    await refresh(db);
    expect(Object.values(await membersByCluster(db)).flat()).not.toContain("daily-7");
    expect(await clustered(db)).toMatchObject({ people: 79 });
  });
});

test("people who are merged are in the cluster of the key that remains", async () => {
  await trial(async (db) => {
    await clustered(db);
    const before = await membersByCluster(db);
    await db.query("select track.link_identities('daily-7', 'night-7')");
    const after = await membersByCluster(db);
    expect(Object.values(after).flat()).toHaveLength(79);
    await refresh(db);
    expect(Object.values(await membersByCluster(db)).flat()).toHaveLength(79);
    await db.query("select track.unlink_identities('daily-7', 'night-7')").catch(() => undefined);
    expect(Object.values(before).flat()).toHaveLength(80);
  });
});

test("the number of clusters can be given, and is fewer where behaviour is not that different", async () => {
  await trial(async (db) => {
    await db.query("select analytics.define_clusters(cluster_count => 3)");
    expect(await clustered(db)).toMatchObject({ clusters: 3, tried: [3, 4, 5, 6, 7, 8] });
    await db.query("select analytics.define_clusters(cluster_count => 20)");
    const many = (await clustered(db)) as Fit;
    // Each has five people or more.
    expect(many.clusters).toBeLessThanOrEqual(16);
    expect(
      await db.value("select min(person_count) from analytics.cluster where retired_at is null"),
    ).toBeGreaterThanOrEqual(5);
    expect(Object.values(await membersByCluster(db)).flat()).toHaveLength(80);
  });
});

test("one person, too few people, and people who all do the same make no clusters, and retire those that were", async () => {
  await trial(async (db) => {
    await clustered(db);
    await db.query("update analytics.setting set smallest_group = 41");
    expect(await clustered(db)).toBeUndefined();
    expect(await db.value("select count(*)::int from analytics.clusters()")).toBe(0);
    expect(
      await db.value("select count(*)::int from analytics.cluster where centroid is not null or means is not null"),
    ).toBe(0);
    expect(await db.value("select count(*)::int from analytics.cluster_member")).toBe(0);
    expect(await db.value("select count(*)::int from analytics.cluster_fit")).toBe(1);
  });
  await trial(async (db) => {
    await db.query("update analytics.cluster_setting set window_days = 366");
    await db.query("delete from track.step");
    expect(await clustered(db)).toBeUndefined();
    // Eighty people with one event of the same minute.
    await db.query(
      `insert into track.step (person_id, event_type_id, is_automatic, since, occurred_at, item_ids)
       select distinct event.person_id, event_type_id, false, date_trunc('year', $1::timestamptz)::date, array[$1::timestamptz], array[0]
       from track.event join track.event_type using (event_type_id) where event_type.name = 'Page Viewed'`,
      [new Date(today - DAY)],
    );
    await db.query("delete from track.session");
    expect(await clustered(db)).toBeUndefined();
  });
});

test("a feature that all people share counts for nothing, and one extreme person moves nobody", async () => {
  await trial(async (db) => {
    // All at noon of a working day, so that there is no night and no weekend.
    await db.query("update track.step set occurred_at = array[]::timestamptz[] || occurred_at");
    const before = (await clustered(db)) as Fit;
    await happen(
      db,
      ...Array.from({ length: 3000 }, (_, index) =>
        message({
          userId: "robot",
          event: "Task Submitted",
          timestamp: new Date(today - 2 * DAY + index * 10_000).toISOString(),
          properties: { item: `only-${index % 900}`, itemKind: "page" },
        }),
      ),
    );
    const after = (await clustered(db)) as Fit;
    expect(after).toMatchObject({ people: 81, clusters: before.clusters });
    expect(after.silhouette).toBeGreaterThan(before.silhouette - 0.05);
  });
});

test("a set of that name that is not a cluster is left alone", async () => {
  await trial(async (db) => {
    await clustered(db);
    const names = Object.keys(await membersByCluster(db));
    await db.query("truncate analytics.cluster cascade");
    await db.query("delete from track.person_set where name like 'cluster.%'");
    for (const name of names) await db.query("select track.set_person_set($1, '{}')", [`cluster.${name}`]);
    await clustered(db);
    expect(Object.keys(await membersByCluster(db)).filter((name) => names.includes(name))).toEqual([]);
    expect(await kindsByCluster(db).then((kinds) => Object.values(kinds).sort())).toEqual(
      KINDS.map((kind) => [kind]).sort(),
    );
  });
});

test("a seed is needed; for administrators and workers", async () => {
  expect(await database.rejects("select analytics.fit_clusters(null)")).toMatchObject({
    code: "CF001",
    message: "seed is null",
  });
  expect(await database.rejects("select analytics.fit_clusters(9223372036854775807)")).toMatchObject({ code: "CF001" });
  expect(await rolesThatMay(database, "select analytics.fit_clusters()")).toEqual(["admin", "worker"]);
});
