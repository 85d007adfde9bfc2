BEGIN TRANSACTION;
CREATE TABLE alerts (
	incident VARCHAR NOT NULL, 
	ended BOOLEAN NOT NULL, 
	at VARCHAR NOT NULL, 
	text TEXT NOT NULL, 
	series VARCHAR DEFAULT '' NOT NULL, 
	title VARCHAR DEFAULT '' NOT NULL, 
	context VARCHAR DEFAULT '' NOT NULL, 
	tried VARCHAR DEFAULT '' NOT NULL, 
	sent VARCHAR DEFAULT '' NOT NULL, 
	PRIMARY KEY (incident, ended)
);
CREATE TABLE checks (
	run_id VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	check_id VARCHAR NOT NULL, 
	verdict VARCHAR NOT NULL, 
	seconds FLOAT NOT NULL, 
	summary TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	PRIMARY KEY (run_id, position), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "checks" VALUES('20261127t180639z-8b41',0,'ingress.https','skipped',0.0,'skipped: needs scope mesh','needs scope mesh');
INSERT INTO "checks" VALUES('20261127t180639z-8b41',1,'ingress.mtls','skipped',0.0,'skipped: needs scope mesh','needs scope mesh');
INSERT INTO "checks" VALUES('20261127t180639z-8b41',2,'ingress.jwt','skipped',0.0,'skipped: needs scope mesh','needs scope mesh');
INSERT INTO "checks" VALUES('20261127t180639z-8b41',3,'egress.gateway','skipped',0.0,'skipped: needs scope mesh','needs scope mesh');
INSERT INTO "checks" VALUES('20261127t180639z-8b41',4,'uninstall.nothing-left','skipped',0.0,'skipped: Istio was there before the run, which leaves it as it is','Istio was there before the run, which leaves it as it is');
INSERT INTO "checks" VALUES('20261127t180639z-8b41',5,'cluster.nodes-ready','pass',0.015,'3 of 3 nodes Ready (v1.36.1)','');
INSERT INTO "checks" VALUES('20261127t180639z-8b41',6,'cluster.version','pass',0.182,'server v1.36.1, Python client 37.0.1, istioctl 1.31.0-dev, kubectl v1.32.4-dispatcher; python client 37.0.1 is 1 minor ahead of the server; kubectl v1.32.4-dispatcher is 4 minor behind the server','');
INSERT INTO "checks" VALUES('20261127t180639z-8b41',7,'istio.cli','pass',0.299,'istioctl 1.31.0-dev, SHA-256 d62a0196c1a5… (as recorded)','');
CREATE TABLE edges (
	run_id VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	source VARCHAR NOT NULL, 
	target VARCHAR NOT NULL, 
	protocol VARCHAR NOT NULL, 
	PRIMARY KEY (run_id, position), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "edges" VALUES('20261127t180639z-8b41',0,'productpage-v1','details-v1','http');
INSERT INTO "edges" VALUES('20261127t180639z-8b41',1,'productpage-v1','reviews-v1','http');
INSERT INTO "edges" VALUES('20261127t180639z-8b41',2,'productpage-v1','reviews-v2','http');
INSERT INTO "edges" VALUES('20261127t180639z-8b41',3,'productpage-v1','reviews-v3','http');
INSERT INTO "edges" VALUES('20261127t180639z-8b41',4,'reviews-v2','ratings-v1','http');
INSERT INTO "edges" VALUES('20261127t180639z-8b41',5,'reviews-v3','ratings-v1','http');
INSERT INTO "edges" VALUES('20261127t180639z-8b41',6,'sleep','istio-system/prometheus','http');
INSERT INTO "edges" VALUES('20261127t180639z-8b41',7,'sleep','productpage-v1','http');
CREATE TABLE findings (
	run_id VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	check_id VARCHAR NOT NULL, 
	code VARCHAR NOT NULL, 
	resource VARCHAR NOT NULL, 
	severity VARCHAR NOT NULL, 
	message TEXT NOT NULL, 
	PRIMARY KEY (run_id, position), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "findings" VALUES('20261127t180639z-8b41',0,'audit.analyze','audit.analyze','EnvoyFilter istio-system/standard-metrics','warning','');
INSERT INTO "findings" VALUES('20261127t180639z-8b41',1,'audit.analyze','audit.analyze','Service istio-system/jaeger-collector','info','');
INSERT INTO "findings" VALUES('20261127t180639z-8b41',2,'audit.debug-ports','audit.debug-ports','Deployment istio-system/istiod','warning','');
INSERT INTO "findings" VALUES('20261127t180639z-8b41',3,'audit.debug-ports','audit.debug-ports','Service istio-system/istiod','warning','');
INSERT INTO "findings" VALUES('20261127t180639z-8b41',4,'audit.debug-ports','audit.debug-ports','Service istio-system/istiod-revision-tag-default','warning','');
INSERT INTO "findings" VALUES('20261127t180639z-8b41',5,'audit.default-deny','audit.default-deny','Namespace meshlab','warning','');
INSERT INTO "findings" VALUES('20261127t180639z-8b41',6,'audit.egress-policy','audit.egress-policy','MeshConfig istio-system/istio','warning','');
INSERT INTO "findings" VALUES('20261127t180639z-8b41',7,'audit.istio-version','audit.istio-version','Istio 1.31.0-dev','warning','');
CREATE TABLE measures (
	run_id VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	labels VARCHAR NOT NULL, 
	unit VARCHAR NOT NULL, 
	value FLOAT NOT NULL, 
	PRIMARY KEY (run_id, position), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "measures" VALUES('20261127t180639z-8b41',0,'requests-sent','loop=fast','requests',51.0);
INSERT INTO "measures" VALUES('20261127t180639z-8b41',1,'requests-ok','loop=fast','requests',51.0);
INSERT INTO "measures" VALUES('20261127t180639z-8b41',2,'request-rate','loop=fast','requests/s',2.52);
INSERT INTO "measures" VALUES('20261127t180639z-8b41',3,'request-p50','loop=fast','ms',40.075);
INSERT INTO "measures" VALUES('20261127t180639z-8b41',4,'request-p90','loop=fast','ms',113.026);
INSERT INTO "measures" VALUES('20261127t180639z-8b41',5,'request-p99','loop=fast','ms',186.077);
INSERT INTO "measures" VALUES('20261127t180639z-8b41',6,'proxy-cpu-per-1000rps','','cores',12.24);
INSERT INTO "measures" VALUES('20261127t180639z-8b41',7,'proxy-memory','','MiB',43.54);
CREATE TABLE runs (
	run_id VARCHAR NOT NULL, 
	flow VARCHAR NOT NULL, 
	verdict VARCHAR NOT NULL, 
	started VARCHAR NOT NULL, 
	finished VARCHAR NOT NULL, 
	provider VARCHAR NOT NULL, 
	cluster VARCHAR NOT NULL, 
	nodes INTEGER NOT NULL, 
	distribution VARCHAR NOT NULL, 
	directory TEXT NOT NULL, 
	PRIMARY KEY (run_id)
);
INSERT INTO "runs" VALUES('20261127t180639z-8b41','nightly-validation','pass','2026-11-27T18:06:39.093Z','2026-11-27T18:10:05.902Z','existing','mltest',0,'embedded','@RUNS@/20261127t180639z-8b41');
CREATE TABLE steps (
	run_id VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	seconds FLOAT NOT NULL, 
	attempts INTEGER NOT NULL, 
	reason TEXT NOT NULL, 
	PRIMARY KEY (run_id, position), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "steps" VALUES('20261127t180639z-8b41',0,'start-cluster','done',0.433,1,'');
INSERT INTO "steps" VALUES('20261127t180639z-8b41',1,'find-istio','done',0.513,1,'');
INSERT INTO "steps" VALUES('20261127t180639z-8b41',2,'install-istio','done',1.516,1,'');
INSERT INTO "steps" VALUES('20261127t180639z-8b41',3,'label-namespace','done',0.087,1,'');
INSERT INTO "steps" VALUES('20261127t180639z-8b41',4,'announce-tracing','done',0.168,1,'');
INSERT INTO "steps" VALUES('20261127t180639z-8b41',5,'deploy-prometheus','done',1.12,1,'');
INSERT INTO "steps" VALUES('20261127t180639z-8b41',6,'deploy-jaeger','done',1.163,1,'');
INSERT INTO "steps" VALUES('20261127t180639z-8b41',7,'deploy-bookinfo','done',24.04,1,'');
CREATE TABLE versions (
	run_id VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	PRIMARY KEY (run_id, position), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "versions" VALUES('20261127t180639z-8b41',0,'kubernetes','v1.36.1');
INSERT INTO "versions" VALUES('20261127t180639z-8b41',1,'python_client','37.0.1');
INSERT INTO "versions" VALUES('20261127t180639z-8b41',2,'istio.client','1.31.0-dev');
INSERT INTO "versions" VALUES('20261127t180639z-8b41',3,'istio.control_plane','1.31.0-dev');
INSERT INTO "versions" VALUES('20261127t180639z-8b41',4,'istio.data_plane','1.31.0-dev');
INSERT INTO "versions" VALUES('20261127t180639z-8b41',5,'envoy','9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL');
CREATE INDEX ix_runs_started ON runs (started);
CREATE INDEX ix_runs_flow ON runs (flow);
COMMIT;
PRAGMA user_version = 2;
