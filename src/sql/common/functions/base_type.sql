create or replace function common.base_type(type regtype)
returns regtype
language plpgsql
stable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_type regtype := type;
  v_found record;
begin
  loop
    select found.typtype, found.typbasetype, element.typtype as element_type, element.oid as element
    into v_found
    from pg_catalog.pg_type as found
    left join pg_catalog.pg_type as element on element.oid = found.typelem and found.typcategory = 'A'
    where found.oid = v_type;
    if v_found.typtype = 'd' then
      v_type := v_found.typbasetype;
    elsif v_found.element_type = 'd' then
      v_type := (
        select base.typarray
        from pg_catalog.pg_type as base
        where base.oid = common.base_type(v_found.element::regtype)
      );
    else
      return v_type;
    end if;
  end loop;
end;
$$;

comment on function common.base_type(regtype) is $$
Returns the type that a domain is over, through all domains; for an array of domains the array of that type.
$$;

grant execute on function common.base_type(regtype) to insights_analyst, insights_admin, insights_worker;
