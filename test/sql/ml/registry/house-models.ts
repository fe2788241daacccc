import type { TestDatabase } from "../../../support/database.ts";

/** A model of each kind that has features of both types, and one that is a dump of XGBoost's. */
export const houseModels = ["lab.linear", "lab.trees", "lab.calibrated", "lab.dump"];

/** The table lab.house, which has a dropped column and columns of awkward names, and the models, each with its first version deployed. */
export async function makeHouseModels(database: TestDatabase): Promise<void> {
  await database.query(`
    create table lab.house as
    select
      id,
      1 + (hashint8extended(id, 1) & 1023) / 128.0::float8 as size,
      case when id % 7 <> 0 then (hashint8extended(id, 2) & 7)::int end as rooms,
      (array['north', 'south', null])[1 + (hashint8extended(id, 3) & 1023) % 3] as area,
      hashint8extended(id, 4) & 3 = 0 as sold,
      id::text as ordinality, id as row_no
    from generate_series(1, 300) as id;
    alter table lab.house add gone int;
    alter table lab.house drop gone;
    alter table lab.house add price float8;
    update lab.house set price = 10 + 3 * size - coalesce(rooms, 3) + case area when 'north' then 4 else 0 end;
    select ml.train('lab.trees', 'regression', 'lab.house', 'id', 'price', features => 'size, rooms, area',
      parameters => '{"num_trees": 8, "max_depth": 3}');
    select ml.train('lab.calibrated', 'classification', 'lab.house', 'id', 'sold', features => 'size, rooms, area',
      parameters => '{"num_trees": 8, "max_depth": 3}');
    select ml.import_model('lab.linear', 'regression', 'linear',
      '{"intercept": 1, "coefficients": {"size": 2, "area": {"north": 3, "south": -1}}, "means": {"size": 4}}');
    select ml.deploy('lab.linear', 1);
    select ml.import_model('lab.dump', 'regression', 'xgboost',
      '{"base_score": 0.5, "trees": [{"nodeid": 0, "split": "size", "split_condition": 4.1, "yes": 1, "no": 2, "missing": 1, "cover": 9, "children": [
        {"nodeid": 1, "leaf": 1, "cover": 4}, {"nodeid": 2, "leaf": 2, "cover": 5}]}]}');
    select ml.deploy('lab.dump', 1)`);
}
