"""Lightning callbacks: curriculum, gallery, run folder."""
