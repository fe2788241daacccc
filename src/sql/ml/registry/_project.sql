/*
 * A registered model is a document (`ml.model.coefficients`) and, where it is large, rows of ml.tree_node, ml.embedding
 * or
 * ml.score. The document says of what kind it is, what it needs and how a raw score becomes an answer:
 *
 *   {"kind": "linear" | "trees" | "embeddings" | "scores",
 *    "link": "identity" | "logit" | "log",
 *    "features": [{"name": "tax", "type": "number", "coefficient": 0.2, "mean": 590},
 *                 {"name": "country", "type": "category", "categories": ["at", "de"], "coefficients": [0.1, 0.3]}],
 *    "intercept": 1.5,
 *    "calibration": {"method": "platt", "slope": 0.9, "intercept": 0.1}}
 *
 * All that predicts is SQL generated from it: names are looked up, numbers cast, texts quoted, and nothing else enters.
 */
create or replace function ml._project(name text)
returns ml.project
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_project ml.project;
begin
  select * into v_project from ml.project where project.name = _project.name;
  if v_project.project_id is null then
    perform common.refuse(
      'CF002',
      format('there is no project "%s"', coalesce(left(name, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(name, (select array_agg(project.name) from ml.project)) || '"?',
        'Train or import a model first: ml.train, ml.import_model.'
      )
    );
  end if;
  return v_project;
end;
$$;

comment on function ml._project(text) is $$The project of a name. Error CF002 names the nearest.$$;

grant execute on function ml._project(text) to insights_reader, insights_analyst, insights_admin, insights_worker;
