"""Why a check is red: the objects that do to the traffic what the check saw, best first."""
