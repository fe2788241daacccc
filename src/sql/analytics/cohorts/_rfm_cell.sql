create or replace function analytics._rfm_cell(recency_score int, value_score int)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select (
    '{{hibernating,hibernating,at_risk,at_risk,cannot_lose},
      {hibernating,hibernating,at_risk,at_risk,cannot_lose},
      {about_to_sleep,about_to_sleep,need_attention,loyal,loyal},
      {promising,potential_loyal,potential_loyal,loyal,loyal},
      {new,potential_loyal,potential_loyal,champions,champions}}'::text[]
  )[recency_score][value_score];
$$;

comment on function analytics._rfm_cell(int, int) is $$
Returns the name of a cell of the grid of recency (1 to 5) by frequency and engaged time (1 to 5).
The ten names and their cells are those of the guide of CleverTap to RFM analysis.
$$;

grant execute on function analytics._rfm_cell(int, int) to insights_reader;
