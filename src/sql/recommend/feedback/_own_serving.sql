create or replace function recommend._own_serving(serving_id text, person_id bigint)
returns recommend.serving
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_serving constant recommend.serving := recommend._read_serving_id(_own_serving.serving_id);
  v_period constant interval := (select serving_period from recommend.setting);
  v_name constant text := format('"%s"', left(_own_serving.serving_id, 100));
begin
  if (v_serving).problem is not null then
    perform common.refuse('CF009', format('serving_id %s %s', v_name, (v_serving).problem),
      'Give the serving_id of a row of a list, unchanged.');
  end if;
  if (v_serving).listed_at < now() - v_period then
    perform common.refuse(
      'CF005',
      format('serving_id %s is of %s', v_name, to_char((v_serving).listed_at, 'YYYY-MM-DD')),
      format('Answers to a list count for %s (recommend.setting.serving_period): request a new one.', v_period)
    );
  end if;
  if (v_serving).identity_id is not null
    and _own_serving.person_id is distinct from (
      track.people_of_identities(array[(v_serving).identity_id], array[(v_serving).listed_at])
    )[1]
  then
    perform common.refuse('CF005', format('serving_id %s is that of another person', v_name),
      'A person answers to the lists that were made for her.');
  end if;
  return v_serving;
end;
$$;

comment on function recommend._own_serving(text, bigint) is $$
@behavior -*
Returns the content of a `serving_id` that a person may answer to now.
Errors: CF009 for a text that is not one, also a changed one, CF005 for one that is older than
`recommend.setting.serving_period` and for one of another person.
$$;
