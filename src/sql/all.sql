/* Everything that can be replayed, in dependency order: functions, views, policies. A room reaches only rooms above it. */
--!include prepare.sql

-- ml

-- privacy

-- track

-- experiment

-- analytics

-- recommend

-- monitor
