"""What runs at the controller: facts -> plan -> apply -> verify -> commit, over SSH."""
