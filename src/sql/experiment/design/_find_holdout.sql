create or replace function experiment._find_holdout(holdout text)
returns experiment.holdout
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_holdout experiment.holdout;
begin
  select * into v_holdout from experiment.holdout as known where known.holdout = _find_holdout.holdout;
  if not found then
    perform experiment._refuse_unknown_name(
      'holdout',
      _find_holdout.holdout,
      array(select known.holdout from experiment.holdout as known order by known.holdout limit 1000),
      'Create it with experiment.define_holdout.'
    );
  end if;
  return v_holdout;
end;
$$;

comment on function experiment._find_holdout(text) is $$
@behavior -*
Returns a holdout by its name. Errors: CF002 (names the nearest).
$$;
