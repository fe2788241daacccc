create or replace function ml._one_way_anova_result(
  between_groups float8,
  within_groups float8,
  groups float8,
  row_count float8
)
returns ml.one_way_anova_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_df_between constant bigint := groups - 1;
  v_df_within constant bigint := row_count - groups;
  v_root float8;
begin
  if v_df_between > 0 and v_df_within > 0 and within_groups > 0 then
    v_root := sqrt(between_groups / v_df_between) / sqrt(within_groups / v_df_within);
  end if;
  return (
    between_groups,
    within_groups,
    v_df_between,
    v_df_within,
    between_groups / nullif(v_df_between, 0),
    within_groups / nullif(v_df_within, 0),
    case when v_root is not null then ml._finite_range(v_root) * ml._finite_range(v_root) end,
    ml._fisher_f_p_value(v_root, v_df_between, v_df_within)
  )::ml.one_way_anova_result;
end;
$$;

comment on function ml._one_way_anova_result(float8, float8, float8, float8) is $$
Returns the analysis of variance from the sums of squares between and within groups.
$$;

grant execute on function ml._one_way_anova_result(float8, float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
