-- Part 99: at commit the launcher hears of this database.
SELECT _triggerdo.announce();
