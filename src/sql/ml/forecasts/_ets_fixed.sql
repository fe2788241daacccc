create or replace function ml._ets_fixed(
  seasonal_period int,
  trend text,
  seasonal text,
  optimizer_params text,
  holdout int
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_names constant text[] := array['alpha', 'beta', 'gamma', 'phi', 'level', 'slope'];
  v_fixed float8[] := array_fill(null::float8, array[6]);
  v_item text;
begin
  if seasonal_period is null or seasonal_period not between 1 and 1000 then
    perform common.refuse(
      'CF001',
      format('seasonal_period is %s', coalesce(seasonal_period::text, 'null')),
      'Give the number of rows in a cycle from 1 to 1000, such as 7 for days with a weekly cycle; 1 for no season.'
    );
  elsif trend is null or trend not in ('auto', 'none', 'additive', 'damped') then
    perform common.refuse('CF001', format('there is no trend "%s"', coalesce(left(trend, 100), 'null')),
      'Choose auto, none, additive or damped.');
  elsif seasonal is null or seasonal not in ('auto', 'none', 'additive', 'multiplicative') then
    perform common.refuse('CF001', format('there is no seasonal "%s"', coalesce(left(seasonal, 100), 'null')),
      'Choose auto, none, additive or multiplicative.');
  elsif seasonal in ('additive', 'multiplicative') and seasonal_period = 1 then
    perform common.refuse('CF001', format('seasonal is %s, but seasonal_period is 1', seasonal),
      'Give a seasonal_period above 1, such as 7.');
  elsif holdout < 0 then
    perform common.refuse('CF001', format('holdout is %s', holdout),
      'Give the number of last rows to compare on, 0 for no comparison.');
  end if;
  foreach v_item in array coalesce(common.split_expressions(nullif(btrim(optimizer_params), '')), '{}') loop
    if not coalesce(
      v_item ~ '^(level|slope)\s*=\s*-?[0-9]{1,50}([.][0-9]{1,50})?$'
      or (
        v_item ~ '^(alpha|beta|gamma|phi)\s*=\s*[0-9]{0,10}[.]?[0-9]{1,50}$'
        and substring(v_item from '=\s*(.*)$')::float8 <= 1
      ),
      false
    ) then
      perform common.refuse('CF001', format('optimizer_params contains "%s"', left(v_item, 100)),
        'Fix alpha, beta, gamma or phi at a number from 0 to 1, such as alpha=0.3, or the level or slope before the '
          || 'first value, such as level=99; the others are fitted.');
    end if;
    v_fixed[array_position(v_names, substring(v_item from '^[a-z]+'))] := substring(v_item from '=\s*(.*)$')::float8;
  end loop;
  return v_fixed;
end;
$$;

comment on function ml._ets_fixed(int, text, text, text, int) is $$
Checks the arguments of ml.ets_train and returns the fixed parameters.
These are alpha, beta, gamma, phi, and the level and slope before the first value; null for those to be fitted.
Errors: CF001.
$$;

grant execute on function ml._ets_fixed(int, text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
