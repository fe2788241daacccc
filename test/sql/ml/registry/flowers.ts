import type { TestDatabase } from "../../../support/database.ts";

export const kinds = ["high", "low", "mid"];

/** Makes lab.flower, whose column "kind" has three classes. */
export const flowers = (database: TestDatabase): Promise<unknown> =>
  database.query(`
    create table lab.flower as
    select
      id, (hashint8extended(id, 1) & 1023) / 128.0::float8 as size,
      case when id % 9 > 0 then (hashint8extended(id, 2) & 7)::int end as rooms,
      (array['north', 'south', null])[1 + (hashint8extended(id, 3) & 1023) % 3] as area,
      (hashint8extended(id, 6) & 255) / 64.0::float8 as height,
      case
        when (hashint8extended(id, 1) & 1023) / 128.0 + (hashint8extended(id, 4) & 255) / 128.0 < 4 then 'low'
        when (hashint8extended(id, 6) & 255) / 64.0 + (hashint8extended(id, 5) & 255) / 128.0 < 3 then 'mid'
        else 'high'
      end as kind
    from generate_series(1, 1200) as id`);
