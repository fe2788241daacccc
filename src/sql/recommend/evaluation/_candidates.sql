create or replace function recommend._candidates()
returns table (model text, algorithm text, parameters jsonb, history_decay float8)
language sql
immutable
parallel safe
begin atomic
  values
    ('ease', 'ease', jsonb '{"lambda": 50}', 1.0::float8),
    ('ease lambda 5', 'ease', '{"lambda": 5}', 1.0),
    ('ease lambda 500', 'ease', '{"lambda": 500}', 1.0);
end;

comment on function recommend._candidates() is $$
@behavior -*
Models that a training tries.
$$;
