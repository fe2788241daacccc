create or replace function analytics.remove_annotation(annotation_id bigint)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_author text;
begin
  -- An invoker: the row policies of the table decide which rows the caller may delete.
  delete from analytics.annotation
  where annotation.annotation_id = remove_annotation.annotation_id
  returning annotation.created_by into v_author;
  if v_author is not null then
    return true;
  end if;

  select annotation.created_by into v_author
  from analytics.annotation
  where annotation.annotation_id = remove_annotation.annotation_id;
  if v_author is not null then
    perform common.refuse(
      'CF005',
      format('annotation %s is by %s', remove_annotation.annotation_id, left(v_author, 100)),
      'Its author or an administrator can remove it.'
    );
  end if;
  return false;
end;
$$;

comment on function analytics.remove_annotation(bigint) is $$
Removes an annotation. False when there is none with this key.
Analysts can remove their own annotations, administrators and workers all.
Errors: CF005 for an annotation of another author.
$$;

grant execute on function analytics.remove_annotation(bigint) to insights_analyst, insights_admin, insights_worker;
