import { expect, test } from "vitest";
import { lab } from "../../support/lab.ts";

const database = await lab();
await database.query(`
  create domain lab.grade as float8 check (value between 0 and 100);
  create domain lab.mark as lab.grade not null;
  create domain lab.marks as lab.mark[];
  create domain lab.points as int[];
  create type lab.mood as enum ('fine')`);

test.each([
  ["int", "integer"],
  ["lab.grade", "double precision"],
  ["lab.mark", "double precision"],
  ["lab.grade[]", "double precision[]"],
  ["lab.mark[]", "double precision[]"],
  ["lab.marks", "double precision[]"],
  ["lab.points", "integer[]"],
  ["lab.mood", "lab.mood"],
  ["text[]", "text[]"],
])("%s is over %s", async (type, base) => {
  expect(await database.value(`select common.base_type('${type}'::regtype)::text`)).toBe(base);
});
