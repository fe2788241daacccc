create or replace function ml._warn_unconverged(fits ml.fit[], trainer text, max_iter integer, argument text)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fit ml.fit;
begin
  foreach v_fit in array fits loop
    if v_fit.failure is null and not v_fit.converged then
      raise warning 'ml.%: no convergence after % iterations%',
        trainer,
        max_iter,
        case when v_fit.group_key <> '' then format(' in group %s', left(v_fit.group_key, 100)) else '' end
        using hint = format('Give a larger %s.', left(argument, 100));
    end if;
  end loop;
end;
$$;

comment on function ml._warn_unconverged(ml.fit[], text, integer, text) is $$
Warns of each group whose iteration ended without convergence. `argument` names what limits the iterations.
$$;

grant execute on function ml._warn_unconverged(ml.fit[], text, integer, text)
to insights_analyst, insights_admin, insights_worker;
