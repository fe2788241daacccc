/* A definer: no role may read the keys. It returns what the id itself contains. */
create or replace function recommend._read_serving_id(serving_id text)
returns recommend.serving
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_payload text;
  v_serving recommend.serving;
begin
  -- The longest id is that of a slot with a pool of 1,000 items.
  if _read_serving_id.serving_id is null or length(_read_serving_id.serving_id) not between 33 and 20000 then
    v_serving.problem := 'is not the serving_id of a list';
    return v_serving;
  end if;

  v_payload := left(_read_serving_id.serving_id, -33);
  if not exists (
    select
    from recommend.secret
    where recommend._sign(v_payload, secret.inner_key, secret.outer_key) = _read_serving_id.serving_id
  ) then
    v_serving.problem := case
      when _read_serving_id.serving_id ~ '^[0-9]+\..*\.[0-9a-f]{32}$' then 'has an invalid signature'
      else 'is not the serving_id of a list'
    end;
    return v_serving;
  end if;

  -- From here on, the content is what this installation has signed.
  -- Pages are signed by the same keys.
  if starts_with(v_payload, 'page.') then
    v_serving.problem := 'is the next_page of a list, not a serving_id';
    return v_serving;
  end if;
  return recommend._serving_content(_read_serving_id.serving_id);
end;
$$;

comment on function recommend._read_serving_id(text) is $$
@behavior -*
Returns the content of a `serving_id`, after the check of its signature: see `recommend._serving_id`.
Of an invalid id, only `problem` is returned. The age and the person are checked by the caller.
$$;

grant execute on function recommend._read_serving_id(text) to insights_reader, insights_learner;
