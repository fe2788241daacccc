create or replace function recommend._candidates()
returns table (
  model text,
  algorithm text,
  parameters jsonb,
  history_decay float8,
  needs_order boolean,
  grid jsonb
)
language sql
immutable
parallel safe
begin atomic
  select candidate.model, candidate.model, candidate.parameters::jsonb, candidate.history_decay, candidate.needs_order,
    candidate.grid::jsonb
  from (
    values
      ('popularity', '{}', 1::float8, false, '{}'),
      ('trending', '{}', 1, true, '{}'),
      (
        'sequence', '{"decay": 0.95, "in_exponent": 0.2, "saturation": 200}', 0.7, true,
        '{
          "decay": [0.3, 0.5, 0.7, 0.85, 0.95, 1],
          "in_exponent": [0, 0.1, 0.2, 0.3, 0.4, 0.5],
          "saturation": [0, 50, 200, 500, 1000],
          "history_decay": [0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
        }'
      ),
      ('ease', '{"lambda": 500}', 1, false, '{"lambda": [20, 50, 100, 200, 500, 1000, 2000]}'),
      (
        'edlae', '{"lambda": 200, "dropout": 0.5, "person_exponent": 0.5}', 1, false,
        '{
          "lambda": [20, 50, 100, 200, 300, 500, 1000, 2000],
          "dropout": [0, 0.2, 0.33, 0.5, 0.67],
          "person_exponent": [0, 0.25, 0.5, 0.75]
        }'
      ),
      (
        'item_knn', '{"similarity": "cosine", "shrinkage": 20}', 1, false,
        '{"shrinkage": [0, 20, 100], "similarity": ["cosine", "jaccard"]}'
      )
  ) as candidate (model, parameters, history_decay, needs_order, grid);
end;

comment on function recommend._candidates() is $$
@behavior -*
Returns the models that are tried for a set of interactions, each with the parameters that it has unless they are given.
`grid` holds the values that the search tries for each parameter, in ascending order; `history_decay` is one of them.
The names of parameters are those of the arguments of the function of the algorithm in `ml`. `needs_order` is true for
models that use the order of the items of a person.
$$;

grant execute on function
  recommend._candidates()
to insights_analyst, insights_admin, insights_worker;
