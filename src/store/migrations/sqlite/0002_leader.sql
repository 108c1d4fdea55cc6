-- Which master decides. Its epoch grows with every new leader; its beat shows that it lives. Whether a master may write is
-- not decided here but by the journal's head: this row only says who should try.

CREATE TABLE leader (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    master TEXT NOT NULL, -- who it is, by the name that it keeps in its data folder
    address TEXT NOT NULL, -- where other masters reach it, as a URL; empty if they cannot
    beat INTEGER NOT NULL, -- grows while it lives
    logs TEXT NOT NULL -- the folder of logs that all masters share, by its own name; empty until one has led
) STRICT;
INSERT INTO leader (one, epoch, master, address, beat, logs) VALUES (1, 0, '', '', 0, '');
