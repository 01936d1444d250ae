-- bare: one row a commit
INSERT INTO bare.one (payload) VALUES ('{}');
