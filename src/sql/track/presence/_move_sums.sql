create or replace function track._move_sums(set_name text, joined bigint[], departed bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- An array of activity has a limit of 1 GB, so that people are moved some at a time.
  v_at_once constant int := 100;
  v_kept constant date := (select setting.sums_kept_before from track.setting);
  v_joined track.activity[];
  v_departed track.activity[];
begin
  -- The sums contain these two sets alone.
  if set_name not in ('counted', 'excluded') then
    return;
  end if;
  for v_first in 1..greatest(cardinality(joined), cardinality(departed)) by v_at_once loop
    v_joined := array(select track._whole_activity(joined[v_first:v_first + v_at_once - 1]));
    v_departed := array(select track._whole_activity(departed[v_first:v_first + v_at_once - 1]));
    if v_kept > '-infinity' then
      v_joined := track._activity_since(v_kept, v_joined);
      v_departed := track._activity_since(v_kept, v_departed);
    end if;
    if set_name = 'counted' then
      perform track._change_item_sums(v_departed, v_joined);
      perform track._change_type_sums(set_name, v_departed, v_joined);
      perform track._change_transitions(
        array(select track._whole_transitions(departed[v_first:v_first + v_at_once - 1])),
        array(select track._whole_transitions(joined[v_first:v_first + v_at_once - 1]))
      );
    else
      perform track._change_type_sums(set_name, v_joined, v_departed);
    end if;
  end loop;
  perform track._move_value_sums(set_name, joined, departed);
end;
$$;

comment on function track._move_sums(text, bigint[], bigint[]) is $$
Changes the sums of items, event types and transitions for people who joined or left the set `counted` or `excluded`.
$$;
