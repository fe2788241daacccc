create or replace function ml._elastic_net_design(
  tbl_source text,
  col_dep_var text,
  col_ind_var text,
  grouping_col text,
  excluded text,
  out design ml.design,
  out features text[]
)
language plpgsql
as $$
declare
  v_relation constant regclass := common.relation(tbl_source);
  v_excluded constant text[] := common.column_names(v_relation, excluded, 'excluded columns');
  v_groups constant text[] := common.column_names(v_relation, grouping_col, 'grouping columns');
  v_x text := common.expression(col_ind_var, v_relation);
  v_type regtype;
  v_inside text;
begin
  if btrim(col_ind_var) = '*' then
    features := array(
      select quote_ident(name)
      from unnest(common.columns(v_relation)) with ordinality as list (name, nth)
      where quote_ident(name) <> all (v_excluded || v_groups)
        and name <> all (common.expression_columns(col_dep_var, v_relation))
      order by nth
    );
    if features = '{}' then
      perform common.refuse('CF001', format('"%s" has no other column', left(tbl_source, 100)),
        'Name the independent variables.');
    end if;
  else
    v_type := common.base_type(common.expression_type(col_ind_var, v_relation, 'independent variable'));
    if v_type = any ('{boolean, smallint, integer, bigint, real, double precision, numeric}'::regtype[]) then
      v_x := format('array[%s]', v_x);
    elsif not exists (
      select from pg_catalog.pg_type as type
      where type.oid = v_type and (type.typcategory = 'A' or type.typname in ('vector', 'halfvec'))
    ) then
      perform common.refuse('CF001',
        format('the independent variable "%s" is of type %s', left(col_ind_var, 100), v_type),
        'Give an array of numbers, such as array[tax, bath, size].');
    end if;
    v_inside := substring(
      btrim(v_x, E' \t\r\n') from '^(?:[aA][rR][rR][aA][yY])\s*\[(.*)\]$'
    );
    begin
      features := common.split_expressions(v_inside);
    exception when sqlstate 'CF001' then
      features := null;
    end;
  end if;
  design := ml._design(
    tbl_source,
    col_dep_var,
    case
      when features is null then format('array[1::float8] || (%s)::float8[]', v_x)
      else format('array[1, %s]', array_to_string(features, ', '))
    end,
    grouping_col
  );
  features := coalesce(features, array(
    select format('(%s)[%s]', v_x, place)
    from generate_series(1, design.width - 1) as place
    order by place
  ));
end;
$$;

comment on function ml._elastic_net_design(text, text, text, text, text) is $$
Returns a design with an intercept as its first column; `*` stands for all other columns of the table.
$$;

grant execute on function ml._elastic_net_design(text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
