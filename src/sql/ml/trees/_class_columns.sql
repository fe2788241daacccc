create or replace function ml._class_columns(levels text[])
returns text[]
language sql
immutable
parallel safe
begin atomic
  select array_agg(
    'estimated_prob_' || case when octet_length(level) <= 48 then level else md5(level) end order by place
  )
  from unnest(levels) with ordinality as listed (level, place);
end;

comment on function ml._class_columns(text[]) is $$
The names of the columns that hold the probabilities of classes.
A class that is too long for the name of a column (48 bytes) is named by its MD5 hash.
$$;

grant execute on function ml._class_columns(text[]) to insights_analyst, insights_admin, insights_worker;
