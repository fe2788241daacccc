create or replace function recommend._serving_id(
  secret recommend.secret,
  model_id bigint,
  item_id bigint,
  rank int,
  propensity float8,
  listed_at timestamptz,
  identity_id bigint,
  basis text,
  pool bigint[] default null,
  experiment_id int default null,
  variation smallint default null
)
returns text
language sql
stable
parallel safe
begin atomic
  select recommend._sign(
    concat_ws(
      '.',
      coalesce(_serving_id.model_id, 0),
      _serving_id.item_id,
      _serving_id.rank,
      coalesce(round(_serving_id.propensity * 1000000000), 0)::bigint,
      floor(extract(epoch from _serving_id.listed_at) * 1000)::bigint,
      coalesce(_serving_id.identity_id, 0),
      _serving_id.basis,
      nullif(array_to_string(_serving_id.pool, '-'), ''),
      'e' || _serving_id.experiment_id || '-' || _serving_id.variation
    ),
    (_serving_id.secret).inner_key,
    (_serving_id.secret).outer_key
  );
end;

comment on function recommend._serving_id(
  recommend.secret, bigint, bigint, int, float8, timestamptz, bigint, text, bigint[], int, smallint
) is $$
@behavior -*
Returns the `serving_id` of a row of a list, which `recommend._read_serving_id` reads.
`model.item.rank.propensity.time.identity.basis.signature`, or, for a marked slot, `….basis.pool.signature`.
Model and identity are 0 for null. The propensity is in billionths, 0 for rows that were not drawn; the time in
milliseconds since 1970: that of the transaction (`now()`), or `recommend._record_impressions` refuses the row. The pool
are the keys of the items from which the one of a marked slot was drawn, joined by `-`. An experiment and its variation
are the last field before the signature, such as `e12-1`.
$$;
