create or replace function ml._check_ridge(lambda float8)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if lambda is null or not (lambda > 0 and lambda < 'infinity') then
    perform common.refuse(
      'CF001',
      format('lambda is %s', coalesce(lambda::text, 'null')),
      'It is a positive number: 100 to 1000 where items have hundreds of people each, less where they have fewer.'
    );
  end if;
end;
$$;

comment on function ml._check_ridge(float8) is $$
Raises CF001 unless `lambda` is a positive, finite number.
$$;

create or replace function ml.ease_inverse(
  gram vector[],
  lambda float8
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
begin
  perform ml._check_ridge(lambda);
  return (
    select ml.inverse(
      array_agg(
        row_.v + format('{%s:%s}/%s', row_.n, lambda::numeric, cardinality(gram))::sparsevec::vector
        order by row_.n
      )
    )
    from unnest(gram) with ordinality as row_ (v, n)
  );
end;
$$;

comment on function ml.ease_inverse(vector[], float8) is $$
P = (XᵀX + λI)⁻¹ of the EASE recommender from XᵀX, such as `ml.ease_gram` returns. `ml.ease_weights` gives the weights.
Shapes: n × n gives n × n. Errors: CF001 (lambda, not a square matrix), CF004 (no rows).
Source: Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019.
$$;

grant execute on function ml._check_ridge(float8), ml.ease_inverse(vector[], float8)
to insights_analyst, insights_admin, insights_worker;
