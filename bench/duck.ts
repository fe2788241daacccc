import { existsSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { DuckDBInstance } from "@duckdb/node-api";
import type pg from "pg";
import type { Step } from "./platform.ts";

export interface Duck {
  name: string;
  ask: (question: string) => Promise<(string | number | null)[][]>;
  close: () => void;
}

/**
 * The events and page views of a database in a DuckDB file, sorted by person and time, with two threads. The tables have
 * the names of those in PostgreSQL. A file with the same number of events is used as it is.
 */
export async function openDuck(file: string, client: pg.Client, events: number, step: Step): Promise<Duck> {
  if (existsSync(file)) {
    const duck = await connect(file);
    const [row] = await duck.ask("select count(*), (select count(*) from person) from track.event").catch(() => [[0]]);
    if (row?.[0] === events) return duck;
    duck.close();
    await rm(file);
  }
  const duck = await connect(file);
  await step("DuckDB's file", async (progress) => {
    await duck.ask("create schema track; create macro seconds(value) as value / 1000000.0");
    const copy = async (table: string, columns: string, order: string, parts: AsyncIterable<string>): Promise<void> => {
      const path = `${file}.csv`;
      const csv = await open(path, "w");
      for await (const part of parts) await csv.write(`${part}\n`);
      await csv.close();
      await duck.ask(`create table ${table} (${columns})`);
      await duck.ask(
        `insert into ${table} select * from read_csv('${path}', header = false, columns = {${columns
          .split(", ")
          .map((column) => column.replace(/(\w+) (\w+)/, "'$1': '$2'"))
          .join(", ")}}) order by ${order}`,
      );
      await rm(path);
    };

    async function* rowsOf(from: string, columns: readonly string[], parts: readonly string[]): AsyncIterable<string> {
      const line = columns.map((column) => `coalesce((${column})::text, '')`).join(" || ',' || ");
      for (const [index, part] of parts.entries()) {
        progress(index / parts.length);
        const { rows } = await client.query<{ lines: string | null }>(
          `select string_agg(${line}, e'\\n') as lines from ${from} where ${part}`,
        );
        if (rows[0]?.lines) yield rows[0].lines;
      }
    }

    const { rows: days } = await client.query<{ part: string }>(`
      select format('occurred_at >= %L and occurred_at < %L', day, day + interval '1 day') as part
      from generate_series(
        (select date_trunc('day', min(occurred_at)) from track.event), (select max(occurred_at) from track.event), '1 day'
      ) as day`);
    const { rows: ranges } = await client.query<{ part: string }>(`
      select format('person_id >= %s and person_id < %s', since, since + 1000) as part
      from generate_series(0, (select max(person_id) from track.person), 1000) as since`);
    await copy(
      "track.event",
      "person_id INTEGER, occurred_at TIMESTAMP, event_type_id SMALLINT, item_id INTEGER, plan VARCHAR",
      "person_id, occurred_at",
      rowsOf(
        "track.event",
        ["person_id", "occurred_at at time zone 'UTC'", "event_type_id", "item_id", "properties ->> 'plan'"],
        days.map(({ part }) => part),
      ),
    );
    await copy(
      "track.page_view",
      "person_id INTEGER, started_at TIMESTAMP, item_id INTEGER, engaged BIGINT",
      "person_id, started_at",
      rowsOf(
        "track.page_view",
        ["person_id", "started_at at time zone 'UTC'", "item_id", "(extract(epoch from engaged) * 1000000)::bigint"],
        ranges.map(({ part }) => part),
      ),
    );
    await copy(
      "track.session",
      "person_id INTEGER, started_at TIMESTAMP, engaged BIGINT, view_count INTEGER, entry_item_id INTEGER",
      "person_id, started_at",
      rowsOf(
        "track.session",
        [
          "person_id",
          "started_at at time zone 'UTC'",
          "(extract(epoch from engaged) * 1000000)::bigint",
          "view_count",
          "entry_item_id",
        ],
        ranges.map(({ part }) => part),
      ),
    );
    await copy(
      "track.enrolment",
      "person_id INTEGER, item_id INTEGER, status VARCHAR, enrolled_at TIMESTAMP",
      "item_id, person_id",
      rowsOf(
        "track.enrolment",
        ["person_id", "item_id", "status", "enrolled_at at time zone 'UTC'"],
        ranges.map(({ part }) => part),
      ),
    );
    await copy(
      "viewed",
      "person_id INTEGER, session_at TIMESTAMP, view_number INTEGER, item_id INTEGER",
      "person_id, session_at, view_number",
      rowsOf(
        "public.viewed",
        ["person_id", "session_at at time zone 'UTC'", "view_number", "item_id"],
        ranges.map(({ part }) => part),
      ),
    );
    for (const [table, columns, order] of [
      ["track.item", "item_id INTEGER, external_id VARCHAR, kind VARCHAR, title VARCHAR", "item_id"],
      ["track.item_ancestor", "item_id INTEGER, ancestor_item_id INTEGER", "item_id"],
      [
        "track.event_type",
        "event_type_id SMALLINT, name VARCHAR, is_automatic BOOLEAN, is_heartbeat BOOLEAN",
        "event_type_id",
      ],
      ["person", "person_id INTEGER, is_counted BOOLEAN, is_excluded BOOLEAN", "person_id"],
    ] as const) {
      const names = columns.split(", ").map((column) => column.replace(/ .*/, ""));
      await copy(table, columns, order, rowsOf(table, names, ["true"]));
    }
    await duck.ask("checkpoint");
  });
  const [row] = await duck.ask("select count(*) from track.event");
  if (row?.[0] !== events) throw new Error(`DuckDB has ${row?.[0]} of ${events} events`);
  return duck;
}

async function connect(file: string): Promise<Duck> {
  const instance = await DuckDBInstance.create(file, { threads: "2" });
  const connection = await instance.connect();
  const ask = async (question: string): Promise<(string | number | null)[][]> => {
    const text = question.replaceAll(/'([\d-]+)'::moment/g, "timestamp '$1'").replaceAll(/'(\w+)'::property/g, "$1");
    const reader = await connection.runAndReadAll(text);
    return reader
      .getRows()
      .map((row) =>
        row.map((value) => (typeof value === "bigint" ? Number(value) : (value as string | number | null))),
      );
  };
  const [row] = await ask("select version()");
  return {
    name: `DuckDB ${String(row?.[0]).replace(/^v/, "")}`,
    ask,
    close() {
      connection.closeSync();
      instance.closeSync();
    },
  };
}
